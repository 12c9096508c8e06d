"""Do the Triton kernels compile for Hopper, without a GPU, and fit in its registers?"""

import json
import os
from collections import Counter

import pytest

from benchmarks import kernels
from tests.helpers.commands import ROOT
from tests.helpers.features import needs_triton

KEPT = json.loads((ROOT / 'docs/benchmarks/kernels.json').read_text())


def compiles(test):
    """A test that runs Triton's compiler, and its disassembler where it is shipped."""
    off = os.environ.get('TRITON_INTERPRET') == '1'
    for mark in (
        needs_triton,
        pytest.mark.slow,
        pytest.mark.skipif(off, reason='nothing is compiled there'),
    ):
        test = mark(test)
    return test


def test_the_kept_table_is_whole_and_its_occupancies_follow():
    rows = KEPT['rows']
    assert Counter(row['capability'] for row in rows) == dict.fromkeys(
        kernels.LIMITS, 18
    )
    for row in rows:
        names = ('capability', 'warps', 'registers', 'shared')
        share = kernels.occupancy(*(row[name] for name in names))
        assert row['occupancy'] == round(share, 3)
        assert row['stack'] <= (16 if row['kernel'] == 'mix' else 0)
    # 128 registers: 16 warps of the 48 of sm_86 and sm_120, of the 64 of the others.
    halves = [r for r in rows if r['kernel'] == 'mix' and r['element'] != 'fp32']
    for row in halves:
        wanted = 1 / 3 if row['capability'] in (86, 89, 120) else 1 / 4
        assert row['registers'] <= 128 and row['occupancy'] == round(wanted, 3)
    text = (ROOT / 'docs/notes/kernels.md').read_text()
    assert kernels.table(rows) in text


@compiles
@pytest.mark.parametrize('capability', [80, 120])
def test_the_kept_table_is_what_the_compiler_says(capability):
    """One form of the oldest and the newest, of the kernel that spills if any does."""
    import triton

    if triton.__version__ != KEPT['triton']:
        pytest.skip(f'the table is of Triton {KEPT["triton"]}')
    from mmmsmlp.ops.mixshift.triton import host
    from mmmsmlp.ops.mixshift.triton import kernels as device_code

    constants = dict(ROLL_FIRST=False, SIZES=kernels.SIZES, SLAB=host.SLAB)
    constants |= dict(ROWS=host.ROWS, COLUMNS=host.WARP_COLUMNS)
    options = dict(num_warps=1, maxnreg=host.MIX_REGISTERS[2])
    compiled = kernels.compile_kernel(
        device_code.mix_kernel, 'bf16', constants, capability, **options
    )
    (row,) = (
        row
        for row in KEPT['rows']
        if row['capability'] == capability and row['element'] == 'bf16'
        and row['kernel'] == 'mix' and row['warps'] == 1 and not row['roll_first']
    )  # fmt: skip
    assert kernels.resources(compiled).items() <= row.items()


@pytest.mark.skipif(needs_triton.args[0], reason='there is no Triton')
def test_sizes_of_maps_do_not_specialise_the_kernels():
    from mmmsmlp.ops.mixshift.triton import kernels as device_code

    loose = {
        kernel: {
            p.name for p in getattr(device_code, kernel).params if p.do_not_specialize
        }
        for kernel in ('mix_kernel', 'correlate_kernel')
    }
    assert {'columns', 'height', 'width', 'n_items'} <= loose['mix_kernel']
    assert {'columns', 'height', 'width', 'n_units'} <= loose['correlate_kernel']
    assert 'channels' not in loose['mix_kernel']  # its divisibility makes loads wide


@compiles
@pytest.mark.parametrize('roll_first', [False, True])
@pytest.mark.parametrize(('element', 'size'), [('bf16', 2), ('fp32', 4)])
def test_the_mix_spills_next_to_nothing_and_loads_16_bytes(element, size, roll_first):
    from mmmsmlp.ops.mixshift.triton import host
    from mmmsmlp.ops.mixshift.triton import kernels as device_code

    limit = host.MIX_REGISTERS[size]
    constants = dict(
        ROLL_FIRST=roll_first,
        SIZES=(1, 3, 5, 7),
        SLAB=host.SLAB,
        COLUMNS=2 * host.WARP_COLUMNS,
        ROWS=host.ROWS,
    )
    compiled = kernels.compile_kernel(
        device_code.mix_kernel, element, constants, num_warps=2, maxnreg=limit
    )
    used = kernels.resources(compiled)
    assert used['stack'] <= 16 and used['registers'] <= limit
    assert used['shared'] == 0
    vectors = compiled.asm['ptx'].count('ld.global.v4')
    singles = compiled.asm['ptx'].count('ld.global.b')
    assert vectors > 60 and singles < 10  # x and taps; only table entries are single


@compiles
@pytest.mark.parametrize('roll_first', [False, True])
@pytest.mark.parametrize('element', ['bf16', 'fp32'])
def test_the_weight_gradient_spills_nothing(element, roll_first):
    from mmmsmlp.ops.mixshift.triton import host
    from mmmsmlp.ops.mixshift.triton import kernels as device_code

    constants = dict(
        ROLL_FIRST=roll_first,
        SIZES=(1, 3, 5, 7),
        SLAB=host.SLAB,
        COLUMNS=host.UNIT_COLUMNS,
        ROWS=host.ROWS,
    )
    compiled = kernels.compile_kernel(
        device_code.correlate_kernel, element, constants, num_warps=host.UNIT_WARPS
    )
    assert kernels.resources(compiled)['stack'] == 0
    assert 'ld.global.v4' in compiled.asm['ptx']


@compiles
def test_packing_and_unpacking_compile():
    from mmmsmlp.ops.mixshift.triton import kernels as device_code

    kernels_and_constants = [
        (device_code.pack_kernel, dict(BLOCK=1024)),
        (device_code.unpack_kernel, dict(BLOCK=64, RANGES=32)),
    ]
    for kernel, constants in kernels_and_constants:
        compiled = kernels.compile_kernel(kernel, 'bf16', constants, num_warps=4)
        assert '.target sm_90' in compiled.asm['ptx']
        assert 'st.global' in compiled.asm['ptx']
