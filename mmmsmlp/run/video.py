"""Videos: drawing into every frame of one, with the progress and the rate."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from ..errors import BadInput

SUFFIXES = {'.mp4', '.avi', '.mov', '.mkv', '.m4v', '.mpg', '.mpeg', '.webm', '.wmv'}
CODEC = 'mp4v'  # the one that OpenCV's wheels write on every system
USUAL_RATE = 25.0  # frames a second, where the file does not say


def redraw(
    source: str,
    target: Path,
    draw: Callable[[np.ndarray], np.ndarray],
    progress: Callable[[str], None],
) -> str:
    """Write a video anew with something drawn into each frame; the sound is lost.

    Args:
        source: What OpenCV can read.
        target: An .mp4, written as a whole or not at all.
        draw: Takes and gives a frame, (H, W, 3) of uint8 in the order BGR.
        progress: Takes a line after each frame.

    Returns:
        How many frames, and how many of them a second.

    Raises:
        BadInput: It cannot be read, or the other one not be written.
    """
    reader = cv2.VideoCapture(source)
    ok, frame = reader.read()
    if not ok:
        raise BadInput('is no video that can be read')
    target.parent.mkdir(parents=True, exist_ok=True)
    total = max(0, int(reader.get(cv2.CAP_PROP_FRAME_COUNT)))
    height, width = frame.shape[:2]
    rate = reader.get(cv2.CAP_PROP_FPS)
    with TemporaryDirectory(dir=target.parent) as folder:
        part = Path(folder, target.name)
        code = cv2.VideoWriter.fourcc(*CODEC)
        writer = cv2.VideoWriter(
            str(part), code, rate if 0 < rate < 1000 else USUAL_RATE, (width, height)
        )
        count, start = 0, time.monotonic()
        while ok:
            writer.write(_drawn(frame, draw, (width, height)))
            count += 1
            speed = count / (time.monotonic() - start)
            progress(f'{source}: frame {_progress(count, total, speed)}')
            ok, frame = reader.read()
        writer.release()
        written = int(cv2.VideoCapture(str(part)).get(cv2.CAP_PROP_FRAME_COUNT))
        if written != count:  # OpenCV says nothing of a full disk
            raise BadInput(
                f'cannot be drawn: of {count} frames {max(0, written)} could be '
                f'written to {target}; is the disk full?'
            )
        part.replace(target)
    ends = f' (its header says {total})' if count < total else ''
    return f'{count} frames{ends}, {speed:.2f} a second'


def _drawn(
    frame: np.ndarray, draw: Callable[[np.ndarray], np.ndarray], size: tuple[int, int]
) -> np.ndarray:
    """A frame with what was found, of the size (width, height) that the video has."""
    pixels = f'{size[0]} x {size[1]} pixels'
    try:
        drawn = draw(frame)
    except cv2.error as error:
        raise BadInput(f'({pixels}) cannot be resized as the config wants') from error
    if drawn.shape[1::-1] != size:  # OpenCV would leave it out in silence
        other = f'{drawn.shape[1]} x {drawn.shape[0]}'
        raise BadInput(f'({pixels}) has a frame that was drawn with {other} pixels')
    return np.ascontiguousarray(drawn)


def _progress(count: int, total: int, speed: float) -> str:
    if count > total:  # the header does not know
        return f'{count}, {speed:.2f} a second'
    minutes, seconds = divmod(round((total - count) / speed), 60)
    left = f'{minutes // 60}:{minutes % 60:02}:{seconds:02}'
    return f'{count}/{total}, {speed:.2f} a second, eta {left}'
