"""The runtime: what it asks of files and pictures, and that it needs no torch."""

import json
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
from PIL import Image

from mmmsmlp.deploy import Classes, Detections, load
from mmmsmlp.deploy.__main__ import main
from mmmsmlp.deploy.metadata import KEY, Metadata
from mmmsmlp.deploy.pictures import colours, draw
from mmmsmlp.deploy.resize import prepare, read_picture
from mmmsmlp.deploy.runtime import as_array
from mmmsmlp.errors import BadInput
from tests.helpers.commands import ROOT

onnx = pytest.importorskip('onnx')
pytest.importorskip('onnxruntime')

RESIZE = [dict(type='Resize', scale=[32, 24], keep_ratio=False)]


WITHOUT_TORCH = """
import importlib.util, sys

class Absent:
    def find_spec(self, name, *rest):
        if name.split('.')[0] in ('torch', 'torchvision', 'mmengine', 'mmcv'):
            raise ModuleNotFoundError(name=name)

sys.meta_path.insert(0, Absent())
find = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name == 'mmengine' else find(name)
sys.path.insert(0, sys.argv[1])
from mmmsmlp.deploy.__main__ import main
main(sys.argv[2:])
assert not {'torch', 'mmengine', 'mmcv'} & {*sys.modules}
"""


def classifier(path, opset=20, **known):
    """A file whose two scores are the mean of red, and what is left to 1."""
    helper, kinds = onnx.helper, onnx.TensorProto
    nodes = [
        helper.make_node('Cast', ['image'], ['pixels'], to=kinds.FLOAT),
        helper.make_node('ReduceMean', ['pixels', 'axes'], ['mean'], keepdims=0),
        helper.make_node('Div', ['mean', 'white'], ['share']),
        helper.make_node('Split', ['share', 'parts'], ['red', 'others'], axis=1),
        helper.make_node('Sub', ['one', 'red'], ['rest']),
        helper.make_node('Concat', ['red', 'rest'], ['scores'], axis=1),
    ]
    constants = [
        onnx.numpy_helper.from_array(np.array([1, 2]), 'axes'),
        onnx.numpy_helper.from_array(np.array([1, 2]), 'parts'),
        onnx.numpy_helper.from_array(np.float32(255).reshape(1), 'white'),
        onnx.numpy_helper.from_array(np.float32(1).reshape(1), 'one'),
    ]
    image = helper.make_tensor_value_info('image', kinds.UINT8, ['n', 'h', 'w', 3])
    scores = helper.make_tensor_value_info('scores', kinds.FLOAT, ['n', 2])
    graph = helper.make_graph(nodes, 'red', [image], [scores], constants)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid('', opset)], ir_version=10
    )
    table = dict(
        task='classification', classes=['red', 'not'], palette=[], resize=RESIZE
    )
    helper.set_model_props(model, {KEY: Metadata(**{**table, **known}).to_text()})
    onnx.save(model, path)
    return str(path)


def colour(red, height=30, width=40):
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = red
    return image


def test_arrays_are_rgb_and_files_are_read_so(tmp_path):
    model = load(classifier(tmp_path / 'm.onnx'))
    assert isinstance(model(colour(255)), Classes)
    assert model(colour(255)).label == 0 and model(colour(0)).label == 1
    cv2.imwrite(str(tmp_path / 'red.png'), colour(204)[..., ::-1])
    assert model(tmp_path / 'red.png').scores == pytest.approx([0.8, 0.2])
    results = model([colour(255), tmp_path / 'red.png', colour(0, 99, 12)])
    assert [r.label for r in results] == [0, 0, 1]
    assert model.classes == ['red', 'not'] and model.runtime == 'onnxruntime'


def test_a_graph_of_a_fixed_batch_takes_single_pictures(tmp_path):
    model = load(classifier(tmp_path / 'm.onnx', batch=3))
    assert model(colour(255)).scores == pytest.approx([1, 0])
    with pytest.raises(BadInput, match='takes batches of 3, not 2'):
        model.run(np.zeros((2, 24, 32, 3), np.uint8), (24, 32))


def test_a_graph_of_a_fixed_shape_refuses_another(tmp_path):
    model = load(classifier(tmp_path / 'm.onnx', shape=[24, 32]))
    assert model(colour(255, 77, 13)).label == 0  # resized to it
    with pytest.raises(BadInput, match=r'pictures of \[24, 32\], not \[24, 33\]'):
        model.run(np.zeros((1, 24, 33, 3), np.uint8), (24, 33))


@pytest.mark.parametrize(
    'image',
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 0, 3), np.uint8),
    ],
)
def test_what_is_no_picture_is_refused(image, tmp_path):
    model = load(classifier(tmp_path / 'm.onnx'))
    with pytest.raises(BadInput, match=r'uint8, red first, not empty; got \(4, [04]'):
        model(image)


@pytest.mark.parametrize('mode', ['RGB', 'L', 'P', 'RGBA', 'I;16'])
def test_an_image_of_pil_is_read_as_its_file(mode, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    image = Image.fromarray(pixels)
    image = (
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257)
        if mode == 'I;16'
        else image.convert(mode)
    )
    file = tmp_path / 'a.png'
    image.save(file)
    with Image.open(file) as opened:
        assert (as_array(opened) == read_picture(str(file))).all()
    assert load(classifier(tmp_path / 'm.onnx'))(image).label in (0, 1)


def test_an_image_of_pil_is_turned_as_its_file(tmp_path):
    image, exif = Image.fromarray(colour(200)), Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / 'a.jpg', exif=exif)
    with Image.open(tmp_path / 'a.jpg') as opened:
        found = as_array(opened)
    assert found.shape == read_picture(str(tmp_path / 'a.jpg')).shape == (40, 30, 3)


@pytest.mark.parametrize('wrong', [None, b'bytes', 3, dict(image=1), [None]])
def test_what_is_of_another_type_is_refused(wrong, tmp_path):
    model = load(classifier(tmp_path / 'm.onnx'))
    kind = type(wrong[0] if isinstance(wrong, list) else wrong).__name__
    with pytest.raises(BadInput, match=f'red first, a path or a PIL image; got {kind}'):
        model(wrong)


def test_a_tensor_is_refused_shortly(tmp_path):
    torch = pytest.importorskip('torch')
    with pytest.raises(BadInput, match='got Tensor') as caught:
        load(classifier(tmp_path / 'm.onnx'))(torch.zeros(300, 400, 3))
    assert len(str(caught.value)) < 120


def test_a_pil_image_of_half_a_file_or_of_numbers(tmp_path):
    model = load(classifier(tmp_path / 'm.onnx'))
    Image.fromarray(colour(9, 99, 99)).save(tmp_path / 'a.png')
    content = (tmp_path / 'a.png').read_bytes()
    (tmp_path / 'a.png').write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match='PIL image cannot be decoded'):
        model(Image.open(tmp_path / 'a.png'))
    with pytest.raises(BadInput, match='uint8, red first, not empty; got'):
        model(Image.fromarray(np.zeros((4, 4), np.float32)))


def test_a_copy_for_a_worker_opens_the_file_anew(tmp_path, monkeypatch):
    classifier(tmp_path / 'm.onnx')
    monkeypatch.chdir(tmp_path)
    content = pickle.dumps(load('m.onnx', threads=1))
    monkeypatch.chdir('/')
    copy = pickle.loads(content)
    assert copy(colour(255)).label == 0 and copy.threads == 1


def test_thresholds_are_for_detectors(tmp_path):
    model = load(classifier(tmp_path / 'm.onnx'))
    with pytest.raises(BadInput, match='classification, which has no thresholds'):
        model(colour(1), score_threshold=0.5)
    model.metadata.thresholds = [0.05, 0.5]
    with pytest.raises(BadInput, match='nms_threshold must be from 0 to 1, got 1.5'):
        model(colour(1), nms_threshold=1.5)
    for wrong in ('0.3', [0.3, 0.4], float('nan'), np.zeros(2)):
        with pytest.raises(BadInput, match='score_threshold must be from 0 to 1, got'):
            model(colour(1), score_threshold=wrong)


def test_files_that_cannot_be_run_are_named(tmp_path, monkeypatch):
    with pytest.raises(BadInput, match='no exported model; one ends in .onnx, .pt2, '):
        load('weights.pth')
    with pytest.raises(BadInput, match='none.onnx does not exist; tools/export.py'):
        load('none.onnx')
    file = classifier(tmp_path / 'm.onnx')
    with pytest.raises(BadInput, match="'torch' does not run .* or openvino does"):
        load(file, 'torch')
    new = classifier(tmp_path / 'new.onnx', opset=99)
    with pytest.raises(BadInput, match='onnxruntime .* cannot open .*new.onnx.*-U'):
        load(new, 'onnxruntime')
    (tmp_path / 'bad.onnx').write_bytes(b'no model')
    with pytest.raises(BadInput, match='cannot open .*bad.onnx'):
        load(tmp_path / 'bad.onnx', 'onnxruntime')
    (tmp_path / 'bad.pt2').write_bytes(b'no model')
    with pytest.raises(BadInput, match='torch .* cannot open .*bad.pt2'):
        load(tmp_path / 'bad.pt2')
    foreign = onnx.load(file)
    del foreign.metadata_props[:]
    onnx.save(foreign, tmp_path / 'foreign.onnx')
    with pytest.raises(BadInput, match='not made by tools/export.py'):
        load(tmp_path / 'foreign.onnx', 'onnxruntime')
    for name in 'onnxruntime', 'openvino':
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BadInput, match='needs onnxruntime or openvino: pip inst'):
        load(file)


def test_the_runtime_needs_no_torch(tmp_path):
    """In a process that has neither torch nor OpenMMLab, as ``pip install`` without."""
    file = classifier(tmp_path / 'm.onnx')
    cv2.imwrite(str(tmp_path / 'red.png'), colour(250)[..., ::-1])
    (tmp_path / 'none').mkdir()
    names = [str(tmp_path / 'red.png'), file, '--out-dir', str(tmp_path / 'out')]
    done = subprocess.run(
        [sys.executable, '-c', WITHOUT_TORCH, str(ROOT), *names],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert 'red.png: red (0.980)' in done.stdout
    assert read_picture(str(tmp_path / 'out/vis/red.png')).shape == (30, 40, 3)


def test_the_room_itself_imports_at_once():
    """Beside numpy and OpenCV, which any such program has."""
    code = (
        'import cv2, numpy, time, mmmsmlp; start = time.perf_counter();'
        'import mmmsmlp.deploy; print(time.perf_counter() - start)'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], capture_output=True, text=True, cwd=ROOT
    )
    assert float(done.stdout) < 1, done.stderr


def test_the_demo_draws_a_folder_and_tells_what_it_could_not(tmp_path, capsys):
    file = classifier(tmp_path / 'm.onnx')
    (tmp_path / 'in').mkdir()
    cv2.imwrite(str(tmp_path / 'in/a.png'), colour(250)[..., ::-1])
    (tmp_path / 'in/b.png').write_bytes(b'no picture')
    main([str(tmp_path / 'in'), file, '--out-dir', str(tmp_path / 'out')])
    said = capsys.readouterr().out
    assert 'a.png: red (0.980)' in said and 'b.png is no picture' in said
    assert [p.name for p in (tmp_path / 'out/vis').iterdir()] == ['a.png']
    (tmp_path / 'in/a.png').unlink()
    with pytest.raises(SystemExit) as end:
        main([str(tmp_path / 'in'), file, '--out-dir', str(tmp_path / 'out')])
    assert end.value.code == 2
    assert 'error: nothing was drawn' in capsys.readouterr().err


def test_the_demo_draws_all_of_one_name_and_tells_what_it_passed_over(tmp_path, capsys):
    file = classifier(tmp_path / 'm.onnx')
    (tmp_path / 'in').mkdir()
    for name in ('a.png', 'a.bmp', 'b.jfif', 'c.ppm'):
        code = cv2.imencode('.jpg' if name == 'b.jfif' else name[1:], colour(250))[1]
        (tmp_path / 'in' / name).write_bytes(code.tobytes())
    (tmp_path / 'in/d.heic').write_bytes(b'?')
    main([str(tmp_path / 'in'), file, '--out-dir', str(tmp_path / 'out'), '--quiet'])
    said = capsys.readouterr().out
    assert 'passed over: 1 .heic' in said and '(as a_png.png)' in said
    names = ['a.bmp', 'a_png.png', 'b.jpg', 'c.png']
    assert sorted(p.name for p in (tmp_path / 'out/vis').iterdir()) == names


def test_a_picture_without_a_suffix_is_drawn_as_png(tmp_path):
    file = classifier(tmp_path / 'm.onnx')
    cv2.imwrite(str(tmp_path / 'a.png'), colour(250)[..., ::-1])
    (tmp_path / 'a.png').rename(tmp_path / 'a')
    main([str(tmp_path / 'a'), file, '--out-dir', str(tmp_path / 'out')])
    assert read_picture(str(tmp_path / 'out/vis/a.png')).shape == (30, 40, 3)


@pytest.mark.parametrize('kind', ['grey', 'alpha', 'deep'])
def test_pictures_of_other_depths_are_read_as_8_bit_colours(kind, tmp_path):
    image = {
        'grey': np.full((6, 8), 90, np.uint8),
        'alpha': np.full((6, 8, 4), 90, np.uint8),
        'deep': np.full((6, 8, 3), 90 * 257, np.uint16),
    }[kind]
    cv2.imwrite(str(tmp_path / 'a.png'), image)
    read = read_picture(str(tmp_path / 'a.png'))
    assert read.shape == (6, 8, 3) and read.dtype == np.uint8 and (read == 90).all()


def test_a_strip_keeps_a_pixel():
    strip = np.zeros((1, 900, 3), np.uint8)
    step = dict(type='Resize', scale=[60, 40], keep_ratio=True)
    assert prepare(strip, [step]).shape == (1, 60, 3)


def test_boxes_masks_and_maps_are_drawn_where_they_are():
    known = Metadata('instances', ['a', 'b'], [[255, 0, 0], [0, 255, 0]], [])
    image = np.full((100, 120, 3), 80, np.uint8)
    mask = np.zeros((1, 100, 120), bool)
    mask[0, 60:80, 30:50] = True
    boxes = np.array([[20, 50, 70, 90]], np.float32)
    drawn = draw(image, Detections(boxes, np.array([0.9]), np.array([1]), mask), known)
    assert drawn[90, 40].tolist() == [0, 255, 0]  # the lower edge
    assert drawn[70, 40].tolist() == [40, 167, 40]  # half the colour inside the mask
    assert (drawn[:40] == 80).all() and (image == 80).all()
    labels = np.zeros((100, 120), np.uint8)
    labels[:, 60:] = 1
    drawn = draw(image, labels, known)
    assert drawn[50, 10, 0] > drawn[50, 10, 1] and drawn[50, 90, 1] > drawn[50, 90, 0]


def test_classes_without_a_palette_have_colours_apart():
    many = colours(Metadata('detection', [], [], []), 40).astype(int)
    assert len({tuple(c) for c in many}) == 40
    assert (np.abs(np.diff(many, axis=0)).sum(1) > 60).all()


def test_a_file_in_the_place_of_the_output(tmp_path, capsys):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((24, 32, 3), np.uint8))
    file = classifier(tmp_path / 'm.onnx')
    with pytest.raises(SystemExit, match='2'):
        main([str(tmp_path / 'a.png'), str(file), '--out-dir', str(file)])
    said = capsys.readouterr().err
    assert said.startswith(f'error: --out-dir {file} cannot be written: Not a dir')


def test_the_benchmark_times_a_file(run_tool, tmp_path, monkeypatch):
    import benchmarks.exported as module

    clocked = []

    def clock(calls, rounds, device, warmups):
        clocked.append((list(calls), rounds, device, warmups))
        for call in calls.values():
            call()
        return {key: [0.5, 9.0, 0.25] for key in calls}

    monkeypatch.setattr(module, 'interleave', clock)
    # OpenVINO stays out of the process of the tests; see test_formats.
    monkeypatch.setattr(module, 'find_spec', lambda name: name == 'onnxruntime')
    file, out = classifier(tmp_path / 'm.onnx'), tmp_path / 'times.json'
    (tmp_path / 'b').mkdir()
    other = classifier(tmp_path / 'b' / 'm.onnx')
    code, said, err = run_tool(
        'benchmark.py', '--exported', file, other, '--shapes', '2x24x32',
        '--out', out,
    )  # fmt: skip
    assert code == 0, err
    names = [str(file), str(other)]
    assert clocked == [([(name, 'onnxruntime') for name in names], 5, 'cpu', 2)]
    found = json.loads(out.read_text())
    for row, name in zip(found['exported'], names, strict=True):
        assert (row['model'], row['ms'], row['images_per_s']) == (name, 500, 4)
        assert f'{name}' in said
    versions = found['machine']['versions']
    assert versions['onnxruntime'] == sys.modules['onnxruntime'].__version__
