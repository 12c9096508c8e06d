"""``tools/export.py`` on a trained run, and the other tools on what it wrote."""

import json

import pytest

from tests.helpers.features import needs

pytest.importorskip('onnxruntime')
pytest.importorskip('onnxscript')


def metrics(run_tool, config, weights, folder):
    file = folder / f'{weights.suffix[1:]}.json'
    code, out, err = run_tool('test.py', config, weights, '--metrics', file)
    assert code == 0, err
    return json.loads(file.read_text()), out + err


@needs('whole_graph')
@pytest.mark.full
def test_a_run_is_exported_evaluated_and_drawn(run_tool, trained, tiny_data, tmp_path):
    config, weights = trained / 'tiny.py', trained / 'epoch_1.pth'
    model = tmp_path / 'model.onnx'
    code, out, err = run_tool(
        'export.py', config, weights, '--out', model, '--images', tiny_data / 'images'
    )
    assert code == 0, err
    assert 'model.onnx: detection, 2 classes, pictures of any size' in out
    assert 'equal to PyTorch on 3 pictures' in out
    own, _ = metrics(run_tool, config, weights, tmp_path)
    exported, said = metrics(run_tool, config, model, tmp_path)
    assert f'{model} is run by onnxruntime' in said
    assert exported == pytest.approx(own, abs=1e-3) and len(own) >= 6
    code, out, err = run_tool('image_demo.py', tiny_data / 'images', model)
    assert code == 0, err
    assert out.count('boxes') == 3
    assert len(list((tmp_path / 'outputs/vis').iterdir())) == 3


@pytest.mark.full
def test_bad_input_is_named_before_the_work(run_tool, trained, tmp_path):
    config, weights = trained / 'tiny.py', trained / 'epoch_1.pth'
    for arguments, says in (
        (['--out', 'model.bin'], '--out model.bin must end in .onnx, .xml, .pt2'),
        (['--out', 'm.onnx', '--format', 'torch'], '--out m.onnx must end in .pt2'),
        (['--out', 'no/m.onnx'], '--out no/m.onnx: the folder no does not exist'),
        (['--out', 'm.pt2', '--half'], '--half and --int8 are for .onnx and .xml'),
        (['--out', 'm.onnx', '--half', '--int8', '.'], '--half and --int8 are two'),
    ):
        code, _, err = run_tool('export.py', config, weights, *arguments)
        assert code == 2 and f'error: {says}' in err
    (tmp_path / 'other.onnx').write_bytes(b'')
    code, _, err = run_tool('test.py', config, tmp_path / 'other.onnx')
    assert code == 2 and 'cannot open' in err and 'other.onnx' in err
    code, _, err = run_tool('test.py', config, tmp_path / 'other.onnx', '--tta')
    assert code == 2 and '--tta is for a checkpoint' in err
