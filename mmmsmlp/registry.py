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

MODELS = Registry(
    'model', parent=ROOT_MODELS, scope=_SCOPE, locations=['mmmsmlp.models']
)
OPTIM_WRAPPER_CONSTRUCTORS = Registry(
    'optimizer wrapper constructor',
    parent=ROOT_CONSTRUCTORS,
    scope=_SCOPE,
    locations=['mmmsmlp.engine.layer_decay'],
)
OPTIM_WRAPPERS = Registry(
    'optimizer wrapper',
    parent=ROOT_OPTIM_WRAPPERS,
    scope=_SCOPE,
    locations=['mmmsmlp.engine.cpu_amp'],
)
FUNCTIONS = Registry(
    'function',
    parent=ROOT_FUNCTIONS,
    scope=_SCOPE,
    locations=['mmmsmlp.engine.seeding', 'mmmsmlp.engine.sharding'],
)
HOOKS = Registry(
    'hook',
    parent=ROOT_HOOKS,
    scope=_SCOPE,
    locations=['mmmsmlp.engine.seeding', 'mmmsmlp.engine.run_record'],
)
STRATEGIES = Registry(
    'strategy',
    parent=ROOT_STRATEGIES,
    scope=_SCOPE,
    locations=['mmmsmlp.engine.sharding'],
)
RUNNERS = Registry(
    'runner', parent=ROOT_RUNNERS, scope=_SCOPE, locations=['mmmsmlp.engine.sharding']
)
