"""Does a checkpoint that a real mmengine Runner wrote load, whole and in part?"""

import pytest
import torch
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch.utils.data import Dataset

from mmmsmlp.checkpoints import load_pretrained, load_whole, read_checkpoint


class Images(Dataset):
    metainfo = dict(classes=('cat', 'dog'), palette=[(1, 2, 3), (4, 5, 6)])

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return torch.rand(3, 32, 32)


class Classifier(BaseModel):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = torch.nn.Linear(160, 2)

    def forward(self, *images, mode='tensor'):
        features = self.backbone(torch.stack(images))[-1]
        scores = self.head(features.mean((2, 3)))
        return dict(loss=scores.square().mean()) if mode == 'loss' else scores


@pytest.fixture
def trained(tiny):
    """Train two epochs with the hooks that configs use, weight averaging included."""
    model = Classifier(tiny.build(out_indices=(3,)))
    schedulers = [
        dict(type='LinearLR', start_factor=0.1, by_epoch=False, end=2),
        dict(type='MultiStepLR', milestones=[1], by_epoch=True),
    ]
    runner = Runner(
        model,
        work_dir=str(tiny.folder / 'run'),
        train_dataloader=dict(
            dataset=Images(), batch_size=2, sampler=dict(type='DefaultSampler')
        ),
        train_cfg=dict(by_epoch=True, max_epochs=2),
        optim_wrapper=dict(optimizer=dict(type='AdamW', lr=1e-3)),
        param_scheduler=schedulers,
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        custom_hooks=[dict(type='EMAHook')],
        experiment_name=tiny.folder.name,
        default_scope='mmengine',
        cfg=dict(model=dict(type='Classifier')),
        log_level='ERROR',
    )
    runner.train()
    return runner, str(tiny.folder / 'run' / 'epoch_2.pth')


def test_runner_file(tiny, trained):
    runner, file = trained
    checkpoint = read_checkpoint(file)
    assert set(checkpoint) >= {'meta', 'state_dict', 'message_hub', 'optimizer'}
    assert checkpoint['meta']['epoch'] == 2
    assert 'train/loss' in checkpoint['message_hub']['log_scalars']

    backbone = tiny.build(out_indices=(3,))
    coverage = load_pretrained(backbone, file)
    assert coverage.layout == 'state_dict > backbone.'
    assert coverage.ignored == {'head': 2}
    averaged = checkpoint['state_dict']
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, averaged[f'backbone.{key}'])
    key = 'stages.0.embed.proj.weight'
    last = runner.model.backbone.state_dict()[key]
    assert not torch.equal(backbone.state_dict()[key], last)  # the average, not this

    model = Classifier(tiny.build(out_indices=(3,)))
    assert load_whole(model, file)['dataset_meta']['classes'] == ('cat', 'dog')
    for key, value in model.state_dict().items():
        assert torch.equal(value, averaged[key])
