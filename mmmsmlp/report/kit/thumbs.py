"""Pictures in a page: a small JPEG in an SVG that draws boxes and masks over it."""

import base64
import os
from dataclasses import dataclass, field, replace
from html import escape
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps

from ...data.pictures import by_range, is_deep, read_picture

SIDE = 260  # pixels of the longer side of what is stored
SMALL = 0.12  # share of the picture's side below which an object is shown near by
IGNORED = 255


@dataclass
class Mark:
    """One object to draw; ``box`` is [x, y, width, height] in the picture's pixels."""

    label: int
    box: list[float]
    polygons: list[list[float]] = field(default_factory=list)
    faint: bool = False
    words: str = ''  # what a pointer on it tells


@dataclass
class Shot:
    """One picture to show, and what to draw on it."""

    path: str
    caption: str
    marks: list[Mark] = field(default_factory=list)
    map: str | BytesIO = ''  # file of a label map to lay over it
    value: int | None = None  # the one value of the map that counts


def colour_of(label: int) -> str:
    """A colour of its own for a class: hues that lie far apart, CSS."""
    return f'hsl({(label * 137.5 + 205) % 360:.0f} 75% 55%)'


def thumb(shot: Shot, title: str = '', near: bool = True) -> str:
    """A figure of a shot, HTML; where it cannot be read, a tile that says so.

    A small first object is shown ``near`` by, or else the whole picture.
    """
    caption = f'<figcaption>{escape(title or shot.caption)}</figcaption>'
    try:
        picture = _open(shot.path)
        marks = _in_picture(shot.marks, picture.size)
        window = _window(picture.size, marks if near else [])
        if shot.map:
            picture = _overlay(picture, shot)
        image = _encoded(picture, window)
    except Exception as error:  # whatever is wrong with it, which the findings say
        reason = 'no file' if isinstance(error, FileNotFoundError) else 'not readable'
        tile = f'<div class="unread">{reason}</div>'
        return f'<figure title="{escape(shot.path)}">{tile}{caption}</figure>'
    x, y, wide, high = window
    drawn = ''.join(_drawn(mark) for mark in reversed(marks))
    return (
        f'<figure title="{escape(shot.path)}"><svg class="shot" role="img" '
        f'aria-label="{escape(shot.caption)}" viewBox="{x} {y} {wide} {high}" '
        f'style="aspect-ratio:{max(0.4, min(3.5, wide / high)):.3f}">'
        f'<image x="{x}" y="{y}" width="{wide}" height="{high}" '
        f'preserveAspectRatio="none" href="{image}"/>{drawn}</svg>{caption}</figure>'
    )


def _open(path: str) -> Image.Image:
    known = read_picture(path)
    if known.mode and is_deep(known):
        pixels = by_range(path)
        return Image.fromarray(pixels[..., ::-1] if pixels.ndim == 3 else pixels)
    picture = Image.open(path)
    return ImageOps.exif_transpose(picture)


def _in_picture(marks: list[Mark], size: tuple[int, int]) -> list[Mark]:
    """The marks whose boxes are numbers; far outside, they are cut at the edge."""
    limits = np.array([*size, *size])
    kept = []
    for mark in marks:
        try:
            box = np.clip(np.array(mark.box, float), -2 * limits, 2 * limits)
        except (TypeError, ValueError):
            continue
        if np.isfinite(box).all() and len(box) == 4:
            kept.append(replace(mark, box=box.tolist()))
    return kept


def _window(size: tuple[int, int], marks: list[Mark]) -> tuple[int, int, int, int]:
    """What is shown: all, or the neighbourhood of a small first object."""
    wide, high = size
    if not marks:
        return 0, 0, wide, high
    x, y, w, h = marks[0].box
    if max(abs(w) / wide, abs(h) / high) > SMALL or not (
        0 <= x < wide and 0 <= y < high
    ):
        return 0, 0, wide, high
    side = round(max(5 * w, 5 * h, 0.2 * max(size), 24))
    shown = min(side, wide), min(round(0.75 * side), high)
    left = int(np.clip(x + w / 2 - shown[0] / 2, 0, wide - shown[0]))
    top = int(np.clip(y + h / 2 - shown[1] / 2, 0, high - shown[1]))
    return left, top, *shown


def _encoded(picture: Image.Image, window: tuple[int, int, int, int]) -> str:
    x, y, wide, high = window
    part = picture.crop((x, y, x + wide, y + high))
    scale = min(1.0, SIDE / max(wide, high))
    small = max(1, round(wide * scale)), max(1, round(high * scale))
    if part.mode in ('RGBA', 'LA', 'P', 'PA'):
        part = part.convert('RGBA')
        part = Image.alpha_composite(Image.new('RGBA', part.size, 'white'), part)
    part = part.convert('RGB').resize(small, Image.Resampling.BILINEAR, reducing_gap=2)
    file = BytesIO()
    part.save(file, 'JPEG', quality=80)
    return 'data:image/jpeg;base64,' + base64.b64encode(file.getvalue()).decode()


def _drawn(mark: Mark) -> str:
    x, y, w, h = mark.box
    kind = 'mark faint' if mark.faint else 'mark'
    colour = colour_of(max(0, mark.label))
    words = f'<title>{escape(mark.words)}</title>' if mark.words else ''
    shapes = ''.join(
        '<polygon points="' + ' '.join(f'{float(n):.1f}' for n in polygon) + '"/>'
        for polygon in mark.polygons
        if not mark.faint
    )
    return (
        f'<g class="{kind}" style="--c:{colour}">{shapes}<rect x="{x:.1f}" '
        f'y="{y:.1f}" width="{max(0, w):.1f}" height="{max(0, h):.1f}"/>{words}</g>'
    )


def _overlay(picture: Image.Image, shot: Shot) -> Image.Image:
    """A picture with its label map: one class in its colour, or all in theirs."""
    if isinstance(shot.map, str) and not os.path.isfile(shot.map):
        return picture
    with Image.open(shot.map) as opened:
        labels = opened if opened.mode in ('P', 'L', '1') else opened.convert('L')
        scale = min(1.0, 2 * SIDE / max(picture.size))
        wide, high = (max(1, round(n * scale)) for n in picture.size)
        size = wide, high
        values = np.asarray(labels.resize(size, Image.Resampling.NEAREST)).astype(int)
    pixels = np.asarray(picture.convert('RGB').resize(size)).astype(float)
    grey = pixels.mean(2, keepdims=True) * 0.6 + 70
    for value in np.unique(values):
        here = values == value
        if value == IGNORED or (shot.value is not None and value != shot.value):
            pixels[here] = grey[here]
        else:
            pixels[here] = 0.45 * pixels[here] + 0.55 * _rgb(int(value))
    result = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    return result.resize(picture.size, Image.Resampling.BILINEAR)


def _rgb(value: int) -> np.ndarray:
    from colorsys import hls_to_rgb

    return 255 * np.array(hls_to_rgb((value * 137.5 + 205) % 360 / 360, 0.55, 0.75))
