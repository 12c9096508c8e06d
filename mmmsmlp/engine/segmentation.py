"""What must hold for a segmentor that neither mmseg nor the Runner checks?"""

from mmengine.config import Config

from ..checkpoints import read_checkpoint
from ..errors import BadInput, CheckpointError

_BATCH_NORMS = ('BN', 'BN2d')


def check_batch_of_one(cfg: Config) -> None:
    """Refuse to train batch norm on one value a channel.

    UperNet's pyramid pools each image to 1x1. With one image a process and no
    synchronisation, batch norm there would divide by a variance of nothing.

    Args:
        cfg: Config, after SyncBN was replaced where it cannot run.

    Raises:
        BadInput: The batch size is 1, and a head pools to 1x1 before batch norm.
    """
    if not cfg.get('train_cfg') or cfg.train_dataloader.get('batch_size') != 1:
        return
    for name in ('decode_head', 'auxiliary_head'):
        heads = cfg.model.get(name) or []
        for head in heads if isinstance(heads, list) else [heads]:
            norm = (head.get('norm_cfg') or {}).get('type')
            if 1 in head.get('pool_scales', ()) and norm in _BATCH_NORMS:
                raise BadInput(
                    f'train_dataloader.batch_size=1 cannot train model.{name}: it '
                    f'pools each image to 1x1, and {norm} needs more than one value '
                    'a channel. Take 2 images or more a process, or a norm without '
                    f'batch statistics: model.{name}.norm_cfg.type=GN '
                    f'model.{name}.norm_cfg.num_groups=32'
                )


def check_classes(cfg: Config, checkpoint: str) -> None:
    """Refuse a segmentor's file that does not name its classes.

    MMSegInferencer would label its output with Cityscapes' 19 classes.

    Raises:
        CheckpointError: ``meta.dataset_meta`` is missing, or the file is unsafe.
    """
    if cfg.get('default_scope') != 'mmseg':
        return
    meta = read_checkpoint(checkpoint).get('meta')
    if not isinstance(meta, dict) or not meta.get('dataset_meta'):
        raise CheckpointError(
            f'{checkpoint} does not say which classes it knows (meta.dataset_meta); '
            'use a checkpoint as tools/train.py writes it'
        )
