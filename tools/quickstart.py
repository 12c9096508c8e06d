#!/usr/bin/env python
"""Does MS-MLP detect anything on this machine? From generated data to drawn boxes.

Generates a small detection dataset, trains a RetinaNet with an MS-MLP backbone on it,
evaluates COCO AP and draws detections, in this Python. Every step is the command that
you would type; data and results lie in work_dirs of the current folder.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import _checkout  # noqa: F401  before the package is imported

from mmmsmlp.configs import config_path

CONFIG = str(config_path('demo/retinanet_msmlp_demo'))
DATA = Path('work_dirs', 'demo_data')  # where the config looks for it
LARGE = Path('work_dirs', 'demo_data_large')  # to draw on: names of classes fit in
WORK_DIR = Path('work_dirs', 'quickstart')
THRESHOLD = 0.60


def say(text: str) -> None:
    print(f'\nquickstart: {text}', flush=True)


def run(tool: str, *arguments: str | Path) -> None:
    """Run a tool in a process of its own; end with its exit code if it fails."""
    script = Path(__file__).with_name(tool)
    code = subprocess.call([sys.executable, script, *arguments])
    if code:
        sys.exit(code if code > 0 else 128 - code)  # the shell's code for a signal


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args()
    start = time.monotonic()
    # Waiting threads that spin make a step ten times slower where a core is shared.
    os.environ.setdefault('OMP_WAIT_POLICY', 'passive')

    say(f'1/4 the dataset, in {DATA}')
    run('make_demo_data.py', DATA)

    say(f'2/4 training (minutes), in {WORK_DIR}')
    if WORK_DIR.exists():
        shutil.rmtree(WORK_DIR)
    run('train.py', CONFIG, '--work-dir', WORK_DIR, '--quiet')
    checkpoint = os.fsdecode((WORK_DIR / 'last_checkpoint').read_bytes())

    say(f'3/4 evaluating {checkpoint}')
    metrics = WORK_DIR / 'metrics.json'
    evaluate = ('test.py', CONFIG, checkpoint, '--work-dir', WORK_DIR, '--quiet')
    run(*evaluate, '--metrics', metrics)

    drawn = WORK_DIR / 'detections'
    say(f'4/4 drawing detections, in {drawn}')
    run('make_demo_data.py', LARGE, '--size', '480', '--train', '1', '--val', '8')
    run(
        'image_demo.py',
        LARGE / 'val',
        CONFIG,
        checkpoint,
        '--out-dir',
        drawn,
        '--quiet',
    )
    image = min((drawn / 'vis').iterdir())

    minutes, seconds = divmod(int(time.monotonic() - start), 60)
    say(f'took {minutes} min {seconds} s after the environment')
    score = json.loads(metrics.read_text(encoding='utf-8'))['coco/bbox_mAP_50']
    if score < THRESHOLD:
        print(
            f'error: bbox_mAP_50={score:.3f} is below {THRESHOLD}; python -m mmmsmlp '
            'doctor tells whether the environment is at fault',
            file=sys.stderr, flush=True,
        )  # fmt: skip
    print(f'quickstart: bbox_mAP_50={score:.3f} image={image}')
    return int(score < THRESHOLD)


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
