"""Write what mmcv's compiled operators compute on a CPU into their golden file.

PYTHONPATH=. python tests/helpers/make_mmcv_golden.py
"""

import mmcv._ext as compiled
import numpy as np

from tests.helpers.mmcv_cases import CASES, GOLDEN, run
from tests.helpers.mmcv_models import DETECTORS, trained


def main() -> None:
    if not getattr(compiled, '__file__', '').endswith(('.so', '.pyd')):
        raise SystemExit(f'{compiled} is not compiled')
    arrays = {
        f'{name}/{number}': tensor.numpy()
        for name, case in CASES.items()
        for number, tensor in enumerate(run(case, compiled))
    }
    for name in DETECTORS:
        arrays[f'losses {name}/0'] = trained(name, compiled)[0].numpy()
    np.savez_compressed(GOLDEN, **arrays)
    print(f'{len(arrays)} arrays, {GOLDEN.stat().st_size} bytes')


if __name__ == '__main__':
    main()
