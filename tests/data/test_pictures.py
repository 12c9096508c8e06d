"""Pictures: what their headers say, what is wrong with them, and what is kept."""

import os

import cv2
import numpy as np
import pytest
from PIL import Image

from mmmsmlp.data import pictures
from mmmsmlp.data.cache import Cache
from mmmsmlp.data.findings import Findings
from mmmsmlp.data.kinds import PICTURES
from mmmsmlp.data.pictures import (
    Picture,
    by_range,
    check_pictures,
    is_deep,
    look,
    read_picture,
    refused,
)

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 255, (40, 60, 3), dtype=np.uint8)
GREY = PIXELS[..., 0]


def save(path, pixels=PIXELS, mode=None, **options):
    image = Image.fromarray(pixels)
    (image.convert(mode) if mode else image).save(path, **options)


def exif(orientation):
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags


def cut(path):
    save(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def rgb16(path):
    cv2.imwrite(str(path), PIXELS.astype(np.uint16))


def rgba16(path, scale=257):
    pixels = np.dstack([PIXELS.astype(np.uint16) * scale, np.full((40, 60), 65535)])
    cv2.imwrite(str(path), pixels.astype(np.uint16))


def animated(path):
    frames = [Image.fromarray(np.roll(PIXELS, k)) for k in range(2)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


# A file, how it is written, the kind that is found, and words of its line.
ODD = [
    ('none.jpg', lambda path: None, 'missing', ['none.jpg', 'correct the names']),
    ('a.jpg', lambda path: path.touch(), 'empty', ['a.jpg: 0 bytes']),
    ('a.jpg', lambda path: path.write_text('no pixels'), 'broken', ['text']),
    ('a.png', lambda path: path.write_bytes(b'\x89PNG\r\n\x1a\n1234'), 'broken', []),
    ('a.jpg', cut, 'truncated', ['a.jpg', 'truncated']),
    ('a.png', cut, 'truncated', ['a.png']),
    ('a.png', lambda path: save(path, GREY.astype(np.uint16) * 16), 'deep',
     ['values up to 40', 'of 65535', 'black']),
    ('a.png', rgb16, 'deep', ['of 65535']),
    ('a.tif', rgb16, 'deep', ['values up to 254 of 65535']),
    ('a.png', rgba16, '16-bit', ['values up to 65278 of 65535']),
    ('a.png', lambda path: rgba16(path, 16), 'deep', ['values up to 4064 of 65535']),
    ('a.png', lambda path: save(path, GREY.astype(np.uint16) * 257), '16-bit', []),
    ('a.tif', lambda path: save(path, GREY.astype(np.float32) / 255), 'float',
     ['values up to 0.99', 'by their range']),
    ('a.jpg', lambda path: save(path, mode='CMYK'), 'cmyk', ['a.jpg']),
    ('a.png', lambda path: save(path, mode='RGBA'), 'alpha', ['mode RGBA']),
    ('a.png', lambda path: save(path, mode='LA'), 'alpha', ['mode LA']),
    ('a.webp', animated, 'animated', ['first frame']),
    ('a.png', lambda path: save(path, PIXELS[:1]), 'thin', ['60 x 1 pixels']),
    ('a.png', lambda path: save(path, np.zeros((1, 3000, 3), np.uint8)), 'too-thin',
     ['3000 x 1']),
]  # fmt: skip


@pytest.mark.parametrize(('name', 'write', 'kind', 'words'), ODD)
@pytest.mark.parametrize('full', [False, True])
def test_what_is_odd_is_found(tmp_path, cache, name, write, kind, words, full):
    write(tmp_path / name)
    found = Findings()
    seen = look([str(tmp_path / name)], cache, full)
    check_pictures(seen, [name], str(tmp_path), found)
    (group,) = found
    assert group.kind == f'picture-{kind}'
    assert group.outcome == PICTURES[group.kind].outcome
    for word in words:
        assert word in group.line()


def test_every_kind_is_tried():
    elsewhere = {'picture-large', 'picture-huge'}
    tried = {f'picture-{kind}' for _, _, kind, _ in ODD}
    assert tried == set(PICTURES) - elsewhere


CLEAN = {
    'rgb.jpg': dict(quality=90),
    'grey.jpg': dict(pixels=GREY),
    'palette.png': dict(mode='P'),
    'lossless.webp': dict(lossless=True),
    'plain.bmp': {},
    'two.png': dict(mode='1'),
    'turned.jpg': dict(exif=exif(3)),
    'ÄÖ 画像 (1).png': {},
}


def test_a_format_that_opencv_may_lack_is_said(tmp_path):
    save(tmp_path / 'still.gif', mode='P')
    picture = read_picture(str(tmp_path / 'still.gif'))
    assert bool(picture.problem) != cv2.haveImageReader(str(tmp_path / 'still.gif'))
    save(tmp_path / 'a.tga')
    picture = read_picture(str(tmp_path / 'a.tga'))
    assert picture.detail == 'TGA, which OpenCV does not read here'


def test_nothing_is_said_of_good_pictures(tmp_path, cache):
    for name, options in CLEAN.items():
        save(tmp_path / name, **options)
    # A camera's padding behind the end.
    save(tmp_path / 'padded.jpg')
    content = (tmp_path / 'padded.jpg').read_bytes()
    (tmp_path / 'padded.jpg').write_bytes(content + bytes(9000))
    paths = [
        str(path) for path in sorted(tmp_path.glob('*.*')) if 'sqlite' not in path.name
    ]
    for full in (False, True):
        found = Findings()
        seen = look(paths, cache, full)
        check_pictures(seen, paths, str(tmp_path), found)
        assert not len(found), found.lines('error')
        assert {picture.turned for picture in seen} == {(60, 40)}
        assert len(seen) == len(CLEAN) + 1


@pytest.mark.parametrize('asked', [True, False])
@pytest.mark.parametrize('name', ['a.jpg', 'a.png', 'a.tif', 'a.webp', 'a.avif'])
def test_exif_orientation(tmp_path, name, asked):
    """Against what mmcv's reader gives of each format."""
    import mmcv

    path, flag = str(tmp_path / name), 'color' if asked else 'color_ignore_orientation'
    for orientation in range(1, 9):
        try:
            save(path, exif=exif(orientation))
        except (KeyError, OSError):
            pytest.skip('Pillow has no AVIF')
        picture, pixels = read_picture(path), mmcv.imread(path, flag)
        if pixels is None:
            assert picture.problem == 'broken' and 'OpenCV' in picture.detail
            continue
        assert picture.as_read(asked) == pixels.shape[1::-1]
        assert (picture.width, picture.height) == (60, 40)
        assert picture.orientation == orientation
        follows = (name in ('a.jpg', 'a.png') and asked) or name == 'a.tif'
        assert picture.follows(asked) == follows


@pytest.mark.parametrize(
    ('size', 'memory', 'kind'),
    [
        ((9000, 9999), 2**40, None),
        ((10000, 10000), 2**40, 'picture-large'),
        ((10000, 10000), 2**30, 'picture-huge'),
        ((2**15, 2**15 + 1), 2**50, 'picture-huge'),
    ],
)
def test_sizes_that_the_memory_does_not_take(size, memory, kind):
    found = Findings()
    check_pictures([Picture(*size, 'RGB')], ['a.png'], '', found, memory)
    assert found.kinds() == ({kind} if kind else set())


def test_a_bomb_is_not_decoded(tmp_path, cache):
    """A PNG of 12 gigabytes in 70 bytes."""
    import struct
    import zlib

    def chunk(kind, body):
        code = struct.pack('>I', zlib.crc32(kind + body))
        return struct.pack('>I', len(body)) + kind + body + code

    head = chunk(b'IHDR', struct.pack('>IIBBBBB', 65000, 65000, 8, 2, 0, 0, 0))
    path = tmp_path / 'bomb.png'
    path.write_bytes(
        b'\x89PNG\r\n\x1a\n' + head + chunk(b'IDAT', b'') + chunk(b'IEND', b'')
    )
    found = Findings()
    check_pictures(look([str(path)], cache), ['bomb.png'], str(tmp_path), found)
    assert found.kinds() == {'picture-huge'}
    assert '65000 x 65000' in found.lines('error')[0]


def test_what_is_known_is_read_again_only_if_it_changed(tmp_path, monkeypatch):
    counted = []

    def read(path, full=False):
        counted.append(os.path.basename(path))
        return read_picture(path, full)

    paths = [str(tmp_path / f'{k}.jpg') for k in range(3)]
    for path in paths:
        save(path)

    def again(full=False):
        counted.clear()
        seen = look(paths, Cache(tmp_path / 'c' / 'cache.sqlite3'), full, read)
        return seen, sorted(counted)

    first, read_first = again()
    assert read_first == ['0.jpg', '1.jpg', '2.jpg']
    assert again() == (first, [])
    save(paths[1], PIXELS[:20])
    changed, names = again()
    assert names == ['1.jpg'] and changed[1].height == 20
    os.utime(paths[2], (1, 1))
    assert again()[1] == ['2.jpg']
    assert again(full=True)[1] == ['0.jpg', '1.jpg', '2.jpg']
    assert again(full=True)[1] == again()[1] == []


def test_what_could_not_be_opened_is_tried_again(tmp_path, cache):
    path = tmp_path / 'a.jpg'
    save(path)

    def denied(path, full=False):
        return Picture(problem='broken', detail='PermissionError')

    assert look([str(path)], cache, read=denied)[0].problem == 'broken'
    assert look([str(path)], cache)[0].problem == ''


@pytest.mark.parametrize('trouble', ['a file', 'no base'])
def test_a_cache_that_cannot_be_used_is_said_and_does_without(tmp_path, trouble):
    path = tmp_path / 'x' / 'cache.sqlite3'
    if trouble == 'a file':
        (tmp_path / 'x').touch()
    else:
        path.parent.mkdir()
        path.write_text('nothing that a base is made of' * 100)
    cache = Cache(path)
    assert str(path) in cache.trouble and 'read anew' in cache.trouble
    save(tmp_path / 'a.jpg')
    assert look([str(tmp_path / 'a.jpg')], cache)[0].width == 60


def test_the_cache_lies_where_the_user_keeps_such(monkeypatch, tmp_path):
    from mmmsmlp.data.cache import default_path

    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))
    assert default_path().parent == tmp_path / 'mmmsmlp'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path))
    assert default_path().parent == tmp_path / '.cache' / 'mmmsmlp'


def test_a_bar_is_for_terminals(monkeypatch, capsys):
    bar = pictures.Bar(1000)
    bar.show(1000)
    assert capsys.readouterr().err == ''
    monkeypatch.setattr('sys.stderr.isatty', lambda: True)
    bar = pictures.Bar(1000)
    bar.show(1000)
    assert '1,000 of 1,000 pictures looked at' in capsys.readouterr().err


def test_a_missing_file_of_another_spelling_is_named(tmp_path, cache):
    save(tmp_path / 'One.PNG')
    found = Findings()
    seen = look([str(tmp_path / 'one.jpg')], cache)
    check_pictures(seen, ['one.jpg'], str(tmp_path), found)
    assert 'holds One.PNG' in found.lines('error')[0]


@pytest.mark.parametrize(
    ('pixels', 'expected'),
    [
        (np.array([[0, 4095]], np.uint16), [[0, 255]]),
        (np.array([[1, 256]], np.uint16), [[0, 128]]),
        (np.array([[7, 200]], np.uint16), [[7, 200]]),
        (np.array([[0, 0.5, 1, np.nan]], np.float32), [[0, 128, 255, 0]]),
        (np.array([[-2, 0, 2]], np.float32), [[0, 128, 255]]),
        (np.array([[0, 3000]], np.int32), [[0, 187]]),
        (np.zeros((1, 2), np.float32), [[0, 0]]),
    ],
)
def test_more_than_eight_bits_are_read_by_their_range(tmp_path, pixels, expected):
    Image.fromarray(pixels).save(tmp_path / 'deep.tif')
    assert by_range(str(tmp_path / 'deep.tif')).tolist() == expected


def test_colours_of_sixteen_bits_are_read_by_their_range(tmp_path):
    pixels = np.array([[[16, 160, 1600], [0, 0, 4000]]], np.uint16)
    cv2.imwrite(str(tmp_path / 'deep.png'), pixels)
    path = str(tmp_path / 'deep.png')
    assert is_deep(read_picture(path)) and not refused(read_picture(path))
    assert by_range(path).tolist() == [[[1, 10, 100], [0, 0, 250]]]
