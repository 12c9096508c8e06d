"""Picture files: their headers without decoding, in parallel, and what is wrong.

Reading takes the first bytes and the last: a JPEG or PNG without its end mark is then
decoded, and so is every picture of more than 8 bits, whose range decides.
"""

import os
import sys
import time
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from .cache import Cache
from .findings import Findings

TAIL = 4096  # bytes at the end that are looked at
ENDS = {'JPEG': b'\xff\xd9', 'PNG': b'IEND'}
ANIMATED = ('GIF', 'PNG', 'WEBP', 'TIFF')  # a JPEG's frames are previews
COMMON = ('JPEG', 'MPO', 'PNG', 'BMP', 'TIFF', 'WEBP', 'PPM')  # every cv2 has them
# Of which formats cv2 follows the orientation: unless it is told not to, or always. It
# does not of any other, such as WebP and AVIF.
TURNS = {'JPEG': 'asked', 'MPO': 'asked', 'PNG': 'asked', 'TIFF': 'always'}
LARGE, HUGE = 90_000_000, 2**30  # pixels; cv2 takes no more than the second
WHAT = 'pictures looked at'
REFUSED = {
    'missing': 'does not exist',
    'empty': 'is a file of no bytes',
    'broken': 'is no image that can be read',
    'truncated': 'breaks off before its end',
    'huge': 'is larger than can be read into the memory here',
    'too-thin': 'is so thin that resizing leaves nothing of it',
}
THINNEST = 2666  # long by short side: at 1333 pixels half a pixel is left


class Picture(NamedTuple):
    """What a file is, as its header says; sizes in pixels before any EXIF rotation."""

    width: int = 0
    height: int = 0
    mode: str = ''  # PIL's, or 'I;16' and 'F' by what is stored
    orientation: int = 1  # EXIF's 1 to 8; from 5 on, width and height change places
    turns: str = ''  # whether its reader follows that: 'asked', 'always' or '', never
    frames: int = 1
    problem: str = ''  # 'missing', 'empty', 'broken' or 'truncated'
    detail: str = ''
    high: float = 0.0  # largest value, of pictures of more than 8 bits
    tail: int = 0  # checksum of the end and the length: equal for equal files
    decoded: bool = False
    values: Sequence[tuple[int, int]] = ()  # of a label map: value, pixels
    colours: Sequence[int] = ()  # of each value, as 0xRRGGBB, where it has one

    @property
    def turned(self) -> tuple[int, int]:
        """Width and height as it is read where nothing forbids to turn it."""
        return self.as_read(True)

    def as_read(self, asked: bool) -> tuple[int, int]:
        """Width and height as cv2 gives them, ``asked`` to follow EXIF or not."""
        size = self.width, self.height
        return size[::-1] if self.orientation >= 5 and self.follows(asked) else size

    def follows(self, asked: bool) -> bool:
        """Whether cv2 turns a picture of this format."""
        return self.turns == 'always' or (asked and self.turns == 'asked')


def read_picture(path: str, full: bool = False) -> Picture:
    """Read a picture's header; with ``full``, decode it too."""
    try:
        with open(path, 'rb') as file:
            tail, length = _end(file)
            if not length:
                return Picture(problem='empty', detail='0 bytes')
            try:
                picture = _read_open(file, tail, full)
            except (Image.UnidentifiedImageError, Image.DecompressionBombError):
                file.seek(0)
                picture = _by_cv2(file.read())
            return picture._replace(tail=_checksum(tail, length))
    except FileNotFoundError:
        return Picture(problem='missing')
    except Exception as error:  # a decoder raises anything on bytes that are wrong
        return Picture(problem='broken', detail=f'{type(error).__name__}: {error}')


def _end(file: BinaryIO) -> tuple[bytes, int]:
    """The last bytes of a file, and its length; it stands at its start then."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - TAIL))
    tail = file.read()
    file.seek(0)
    return tail, length


def _checksum(tail: bytes, length: int) -> int:
    return zlib.crc32(tail, length & 0xFFFFFFFF)


def checksum_of_end(file: BinaryIO) -> int:
    """Of the end and the length of a file: equal for equal files."""
    return _checksum(*_end(file))


def _read_open(file: BinaryIO, tail: bytes, full: bool) -> Picture:
    with Image.open(file) as image:
        mode = image.mode
        if any(';16' in str(tile[3]) for tile in image.tile) or mode.startswith('I;16'):
            mode = 'I;16'
        if image.format == 'PNG' and mode == 'I':
            mode = 'I;16'  # older versions of Pillow
        frames = 1
        if image.format in ANIMATED and getattr(image, 'is_animated', False):
            frames = 2
        (width, height), turns = image.size, TURNS.get(image.format or '', '')
        if isinstance(image, TiffImageFile):  # some versions of Pillow turn its size
            width, height = image.tag_v2[256], image.tag_v2[257]
        picture = Picture(width, height, mode, _orientation(image), turns, frames)
        mark = ENDS.get(image.format or '')
        deep = mode in ('I;16', 'I', 'F')
        rare = image.format not in COMMON
        if not (full or deep or rare or (mark and mark not in tail)):
            return picture
        if rare or (mode == 'I;16' and image.mode not in ('I;16', 'I;16B', 'I')):
            file.seek(0)  # Pillow has cut several channels to their upper 8 bits
            seen = _by_cv2(file.read())
            if rare:
                detail = f'{image.format}, which OpenCV does not read here'
                return picture if seen.width else seen._replace(detail=detail)
            return picture._replace(problem=seen.problem, high=seen.high, decoded=True)
        try:
            image.load()
        except Exception as error:
            return picture._replace(problem='truncated', detail=str(error))
        if deep:
            picture = picture._replace(high=float(np.nanmax(np.asarray(image))))
        return picture._replace(decoded=True)


def _orientation(image: Image.Image) -> int:
    """As EXIF says, of which Pillow would make up one from other tags."""
    if isinstance(image, TiffImageFile):
        return _whole(image.tag_v2.get(0x0112))
    tags = Image.Exif()
    tags.load(image.info.get('exif', b''))
    return _whole(tags.get(0x0112))


def _whole(orientation: object) -> int:
    known = isinstance(orientation, int) and 1 <= orientation <= 8
    return orientation if known else 1  # type: ignore[return-value]


def _kind(content: bytes) -> str:
    """What a file is that no decoder takes for a picture."""
    if content[4:8] == b'ftyp':  # and a brand: heic, avif, mp42
        return 'HEIC, AVIF or a video'
    start = content[:200]
    text = start.isascii() and b'\0' not in start
    return 'text' if text else 'bytes of no known kind'


def _by_cv2(content: bytes) -> Picture:
    """A picture that Pillow does not know, such as a TIFF of 16-bit colours."""
    import cv2

    code = np.frombuffer(content, np.uint8)
    pixels = cv2.imdecode(code, cv2.IMREAD_UNCHANGED)
    if pixels is None:  # such as a TIFF that is turned
        pixels = cv2.imdecode(code, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    if pixels is None:
        return Picture(problem='broken', detail=f'{_kind(content)}: {content[:16]!r}')
    mode = {'uint8': 'RGB', 'uint16': 'I;16'}.get(str(pixels.dtype), 'F')
    height, width = pixels.shape[:2]
    colours = pixels.reshape(height, width, -1)[..., :3]  # and no transparency
    high = 0.0 if mode == 'RGB' else float(np.nanmax(colours))
    return Picture(width, height, mode, high=high, decoded=True)


def by_range(path: str) -> np.ndarray:
    """A picture of more than 8 bits scaled to 8 by its range: (H, W[, 3]), BGR.

    Whole numbers by the fewest bits that hold the largest, so that pictures of one
    camera stay comparable; fractions from 0 to 1, and else from least to largest.
    """
    import cv2

    content = np.fromfile(path, np.uint8)
    pixels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
    if pixels is None:
        with Image.open(path) as image:
            pixels = np.asarray(image)
    pixels = np.nan_to_num(pixels[..., :3] if pixels.ndim == 3 else pixels)
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype.kind in 'ui' and low >= 0:
        return (pixels // 2 ** max(0, int(high).bit_length() - 8)).astype(np.uint8)
    if low < 0 or high > 1:
        pixels = (pixels - low) / max(high - low, 1e-12)
    return np.round(255.0 * pixels).astype(np.uint8)


def refused(picture: Picture) -> str:
    """Why a picture cannot be drawn, or nothing; the name of its file goes before."""
    for kind, value in _problems(picture, _free_memory()):
        if kind in REFUSED:
            return REFUSED[kind] + (f' ({value})' if value else '')
    return ''


def is_deep(picture: Picture) -> bool:
    """Whether it would be read as black, and wants :func:`by_range`."""
    return not {'deep', 'float'}.isdisjoint(dict(_problems(picture, _free_memory())))


def look(
    paths: Sequence[str],
    cache: Cache,
    full: bool = False,
    read: Callable[[str, bool], Picture] = read_picture,
    shelf: str = '',
) -> list[Picture]:
    """Read many pictures, those anew that the cache does not know as they are now.

    Args:
        paths: The files.
        cache: What is known of them.
        full: Decode them too.
        read: Reads one, as :func:`read_picture` does.
        shelf: Where the cache keeps what another ``read`` gives.
    """
    known: dict[str, tuple[str, dict]] = {}
    found: list[Picture | None] = [None] * len(paths)
    stats: dict[int, tuple[str, str, int, int]] = {}
    for i, path in enumerate(paths):
        folder, name = os.path.split(path)
        try:
            stat = os.stat(path)
        except (OSError, ValueError):  # a name with a zero byte
            found[i] = Picture(problem='missing')
            continue
        if folder not in known:
            key = shelf + os.path.abspath(folder)
            known[folder] = key, cache.files(key)
        size, mtime = stat.st_size, stat.st_mtime_ns
        key, rows = known[folder]
        row = rows.get(name)
        known_form = row and len(row[2]) == len(Picture._fields)
        if row and known_form and row[:2] == (size, mtime):
            *rest, values, colours = row[2]
            shown = tuple(map(tuple, values)), tuple(colours)
            picture = Picture._make([*rest, *shown])
            if picture.decoded or not full or picture.problem:
                found[i] = picture
                continue
        stats[i] = (key, name, size, mtime)
    order = list(stats)
    fresh = _in_parallel([paths[i] for i in order], lambda path: read(path, full))
    for i, picture in zip(order, fresh, strict=True):
        found[i] = picture
    cache.keep_files(  # a file that could not be opened may be whole
        (*stats[i], list(picture)) for i, picture in zip(order, fresh, strict=True)
        if picture.problem not in ('missing', 'broken')
    )  # fmt: skip
    return [picture for picture in found if picture is not None]


def _in_parallel(paths: list[str], read: Callable[[str], Picture]) -> list[Picture]:
    """Threads are enough: a disk or a decoder works while Python waits."""
    bar = Bar(len(paths))
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # we judge it
    try:
        with ThreadPoolExecutor(min(16, 4 * (os.cpu_count() or 1))) as pool:
            chunks = [paths[i : i + 64] for i in range(0, len(paths), 64)]
            result: list[Picture] = []
            for part in pool.map(lambda chunk: [read(path) for path in chunk], chunks):
                result += part
                bar.show(len(result))
            return result
    finally:
        Image.MAX_IMAGE_PIXELS = limit
        bar.end()


class Bar:
    """A bar of progress on a terminal, and nothing elsewhere."""

    def __init__(self, total: int) -> None:
        self.total = total
        self.shown = sys.stderr.isatty() and total > 500
        self.start = self.last = time.monotonic()

    def show(self, done: int) -> None:
        """Say how many are done, ten times a second at most."""
        now = time.monotonic()
        if not self.shown or (now - self.last < 0.1 and done < self.total):
            return
        self.last = now
        left = (now - self.start) / done * (self.total - done)
        marks = '#' * (30 * done // self.total)
        print(
            f'\r[{marks:30}] {done:,} of {self.total:,} {WHAT}, {left:.0f} s left ',
            end='', file=sys.stderr, flush=True,
        )  # fmt: skip

    def end(self) -> None:
        """Leave the line."""
        if self.shown:
            print(file=sys.stderr, flush=True)


def check_pictures(
    pictures: Iterable[Picture],
    names: Sequence[str],
    folder: str,
    found: Findings,
    memory: int | None = None,
) -> None:
    """Note what is wrong with pictures, each under its name in ``folder``.

    Args:
        pictures: As :func:`look` gives them.
        names: One a picture, as the data set calls them.
        folder: Where they lie.
        found: Takes the findings.
        memory: Bytes that are free, or what the machine says.
    """
    memory = _free_memory() if memory is None else memory
    groups: dict[str, list[tuple[str, object]]] = defaultdict(list)
    for name, picture in zip(names, pictures, strict=True):
        for kind, value in _problems(picture, memory):
            groups[f'picture-{kind}'].append((name, value))
    for kind, examples in groups.items():
        cure = _nearby(folder, examples[0][0]) if kind == 'picture-missing' else ''
        found.add_many(kind, folder, len(examples), examples, cure=cure)


def _problems(picture: Picture, memory: int) -> list[tuple[str, str]]:
    """Kinds and values, most often none."""
    if picture.problem:
        return [(picture.problem, picture.detail)]
    width, height, mode = picture.width, picture.height, picture.mode
    result = []
    size = f'{width} x {height} pixels'
    short, long = sorted((width, height))
    if long > THINNEST * short:
        result.append(('too-thin', size))
    elif short == 1:
        result.append(('thin', size))
    if width * height > HUGE or 4 * 3 * width * height > memory:
        result.append(('huge', size))
    elif width * height > LARGE:
        result.append(('large', size))
    if picture.frames > 1:
        result.append(('animated', ''))
    if mode in ('I', 'F'):
        result.append(('float', f'values up to {picture.high:g}'))
    elif mode == 'I;16':
        kind = 'deep' if picture.high < 2**14 else '16-bit'
        result.append((kind, f'values up to {picture.high:.0f} of 65535'))
    elif mode == 'CMYK':
        result.append(('cmyk', ''))
    elif mode in ('RGBA', 'LA', 'PA', 'La', 'RGBa'):
        result.append(('alpha', f'mode {mode}'))
    return result


def _free_memory() -> int:
    try:
        return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // 2
    except (ValueError, OSError, AttributeError):  # not on Windows
        return 8 * 2**30


def _nearby(folder: str, name: str) -> str:
    """The cure of a missing file, with what lies there under a similar name."""
    path = os.path.join(folder, name)
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        return f'There is no folder {parent}; correct the names or the image folder'
    wanted = os.path.splitext(os.path.basename(path))[0].lower()
    with os.scandir(parent) as entries:
        for entry in entries:
            if os.path.splitext(entry.name)[0].lower() == wanted:
                return f'{parent} holds {entry.name}; correct the names'
    return f'{parent} was looked in; copy them there, or correct the names'
