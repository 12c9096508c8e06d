"""An exported model in a toolbox's evaluation: ``tools/test.py CONFIG MODEL.onnx``."""

from typing import Any

import numpy as np
import torch
from mmengine.model import BaseModel
from mmengine.structures import InstanceData, PixelData

from ..registry import MODELS
from .runtime import Classes, Detections, load


@MODELS.register_module()
class DeployedModel(BaseModel):
    """Answers ``test_step`` with what an exported model says.

    Args:
        file: As ``tools/export.py`` wrote it.
        runtime: See :func:`mmmsmlp.deploy.load`.
    """

    def __init__(self, file: str, runtime: str | None = None) -> None:
        super().__init__()
        self.deployed = load(file, runtime)

    def test_step(self, data: dict[str, Any]) -> list[Any]:
        """Fill the samples' predictions.

        Args:
            data: ``inputs``, a list or batch of (3, H, W), uint8, as the pipeline
                packs them: BGR, resized, neither normalised nor padded; and
                ``data_samples``.
        """
        for image, sample in zip(data['inputs'], data['data_samples'], strict=True):
            rgb = image.permute(1, 2, 0).numpy()[..., ::-1]
            size = sample.metainfo['ori_shape'][:2]
            self._fill(sample, self.deployed.run_one(rgb, size))
        return data['data_samples']

    def _fill(self, sample: Any, result: Detections | Classes | np.ndarray) -> None:
        if isinstance(result, Classes):
            sample.set_pred_score(torch.from_numpy(result.scores))
            sample.set_pred_label(result.label)
        elif isinstance(result, Detections):
            found = InstanceData(
                bboxes=torch.from_numpy(result.boxes),
                scores=torch.from_numpy(result.scores),
                labels=torch.from_numpy(result.labels),
            )
            if result.masks is not None:
                found.masks = torch.from_numpy(result.masks)
            sample.pred_instances = found
        else:
            labels = torch.from_numpy(result.astype(np.int64))
            sample.pred_sem_seg = PixelData(data=labels[None])

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Not used: an exported model only predicts."""
        raise NotImplementedError('an exported model predicts, by test_step')
