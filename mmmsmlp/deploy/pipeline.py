"""A config's test pipeline, as the steps that an exported model carries."""

from typing import Any

from ..errors import BadInput

# What a pipeline does beside changing the picture's pixels.
BESIDE = (
    'LoadImageFromFile',
    'LoadAnnotations',
    'LoadPanopticAnnotations',
    'PackDetInputs',
    'PackSegInputs',
    'PackInputs',
)


def steps_of(pipeline: list[dict[str, Any]]) -> tuple[list[dict], dict | None]:
    """The steps of :mod:`mmmsmlp.deploy.resize` that a test pipeline stands for.

    Returns:
        The steps, and the table of a ``Pad`` at the end, which the graph does.

    Raises:
        BadInput: A transform changes the picture in a way that is not among them.
    """
    steps: list[dict] = []
    pad = None
    for table in pipeline:
        kind = str(table['type']).rpartition('.')[2]
        if kind == 'LoadImageFromFile':
            _check_loading(table)
        if kind in BESIDE:
            continue
        if pad is not None:
            raise BadInput(f'{kind} after Pad: an exported graph pads last')
        if kind == 'Pad' and table.get('size') and not table.get('pad_to_square'):
            width, height = table['size']
            pad = dict(size=(height, width), value=_value(table.get('pad_val', 0)))
        elif kind == 'Resize' and table.get('scale'):
            steps.append(_step(kind, table, 'scale', keep_ratio=False))
        elif kind == 'ResizeEdge':
            steps.append(_step(kind, table, 'scale', edge='short'))
        elif kind == 'CenterCrop' and not table.get('efficientnet_style'):
            steps.append(_step(kind, table, 'crop_size'))
        else:
            raise BadInput(
                f'test_pipeline has {dict(table)}, which an exported model does not; '
                'it does Resize(scale), ResizeEdge, CenterCrop and Pad(size)'
            )
    return steps, pad


def _check_loading(table: dict[str, Any]) -> None:
    """Refuse pictures that are not 8-bit BGR; which way up is the user's affair."""
    kind = table.get('color_type', 'color')
    if kind not in ('color', 'color_ignore_orientation') or table.get('to_float32'):
        raise BadInput(
            f'test_pipeline has {dict(table)}, and an exported model takes 8-bit '
            "colours: leave to_float32 and color_type out, or color_type='color'"
        )


def _step(kind: str, table: dict[str, Any], needed: str, **defaults: Any) -> dict:
    size = table[needed]
    step = {'type': kind, needed: size if isinstance(size, int) else list(size)}
    for key in (*defaults, 'backend', 'interpolation'):
        if (value := table.get(key, defaults.get(key))) is not None:
            step[key] = value
    return step


def _value(value: Any) -> float:
    """One value of padding, of the many ways to write it."""
    if isinstance(value, dict):
        value = value.get('img', 0)
    values = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(set(values)) != 1:
        raise BadInput(f'Pad(pad_val={value}): an exported graph pads with one value')
    return float(values[0])


def without_truth(pipeline: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The same pipeline for pictures that have no annotations."""
    return [table for table in pipeline if 'Annotations' not in str(table['type'])]
