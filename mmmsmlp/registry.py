"""Child registries: they let every toolbox build ``type='mmmsmlp.<Name>'``.

mmengine looks a prefixed name up in the child registry of that scope and imports
its ``locations`` only then, so registering costs nothing at import.
"""

from mmengine.registry import FUNCTIONS as ROOT_FUNCTIONS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS as ROOT_CONSTRUCTORS
from mmengine.registry import OPTIM_WRAPPERS as ROOT_OPTIM_WRAPPERS
from mmengine.registry import RUNNERS as ROOT_RUNNERS
from mmengine.registry import STRATEGIES as ROOT_STRATEGIES
from mmengine.registry import Registry

_SCOPE = 'mmmsmlp'


def _child(parent: Registry, *locations: str) -> Registry:
    return Registry(parent.name, parent=parent, scope=_SCOPE, locations=list(locations))


MODELS = _child(ROOT_MODELS, 'mmmsmlp.models', 'mmmsmlp.deploy.evaluation')
OPTIM_WRAPPER_CONSTRUCTORS = _child(ROOT_CONSTRUCTORS, 'mmmsmlp.engine.optim')
OPTIM_WRAPPERS = _child(ROOT_OPTIM_WRAPPERS, 'mmmsmlp.engine.optim')
FUNCTIONS = _child(ROOT_FUNCTIONS, 'mmmsmlp.engine.hooks', 'mmmsmlp.engine.fsdp')
HOOKS = _child(
    ROOT_HOOKS,
    *('mmmsmlp.engine.hooks', 'mmmsmlp.engine.divergence', 'mmmsmlp.engine.resume'),
    'mmmsmlp.engine.evaluation',
)
STRATEGIES = _child(ROOT_STRATEGIES, 'mmmsmlp.engine.fsdp')
RUNNERS = _child(ROOT_RUNNERS, 'mmmsmlp.engine.fsdp')
