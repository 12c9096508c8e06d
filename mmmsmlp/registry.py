"""Child registries: they let every toolbox build ``type='mmmsmlp.<Name>'``.

mmengine looks a prefixed name up in the child registry of that scope and imports
its ``locations`` only then, so registering costs nothing at import.
"""

from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import MODEL_WRAPPERS as ROOT_MODEL_WRAPPERS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import Registry

_SCOPE = 'mmmsmlp'

MODELS = Registry(
    'model', parent=ROOT_MODELS, scope=_SCOPE, locations=['mmmsmlp.models']
)
MODEL_WRAPPERS = Registry(
    'model_wrapper',
    parent=ROOT_MODEL_WRAPPERS,
    scope=_SCOPE,
    locations=['mmmsmlp.engine'],
)
HOOKS = Registry('hook', parent=ROOT_HOOKS, scope=_SCOPE, locations=['mmmsmlp.engine'])
