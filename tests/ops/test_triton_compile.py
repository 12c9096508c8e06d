"""Do the Triton kernels compile for Hopper, without a GPU, and fit in its registers?"""

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.helpers.features import needs_triton

pytestmark = [
    needs_triton,
    pytest.mark.slow,
    pytest.mark.skipif(
        os.environ.get('TRITON_INTERPRET') == '1', reason='nothing is compiled there'
    ),
]


def compile_for_hopper(kernel, element, constants, **options):
    """Compile for sm_90 as a launch on tensors of 16-byte alignment would."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    def kind(name):
        if name in constants:
            return 'constexpr'
        table = name in ('items_ptr', 'passes_ptr', 'jobs_ptr', 'index_ptr')
        single = name in ('pack_ptr', 'partial_ptr')
        if not name.endswith('_ptr'):
            return 'i32'
        return '*i32' if table else '*fp32' if single else f'*{element}'

    signature = {name: kind(name) for name in kernel.arg_names}
    aligned = {
        (position,): [['tt.divisibility', 16]]
        for position, (name, type_) in enumerate(signature.items())
        if type_.startswith('*') or name == 'channels'
    }
    source = ASTSource(kernel, signature, constants, aligned)
    target = GPUTarget('cuda', 90, 32)
    return triton.compile(source, target=target, options=options)


def resources(compiled, folder):
    """Registers a thread and bytes of stack, from Triton's disassembler."""
    import triton

    tool = Path(triton.__file__).parent / 'backends/nvidia/bin/cuobjdump'
    if not tool.is_file():
        pytest.skip('this Triton ships no cuobjdump')
    cubin = folder / 'kernel.cubin'
    cubin.write_bytes(compiled.asm['cubin'])
    report = subprocess.run(
        [tool, '-res-usage', cubin], capture_output=True, text=True, check=True
    ).stdout
    return {name: int(n) for name, n in re.findall(r'(REG|STACK):(\d+)', report)}


@pytest.mark.parametrize('roll_first', [False, True])
@pytest.mark.parametrize(('element', 'size'), [('bf16', 2), ('fp32', 4)])
def test_the_mix_spills_next_to_nothing_and_loads_16_bytes(
    element, size, roll_first, tmp_path
):
    from mmmsmlp.ops.mixshift.triton import host, kernels

    limit = host.MIX_REGISTERS[size]
    constants = dict(
        ROLL_FIRST=roll_first,
        SIZES=(1, 3, 5, 7),
        SLAB=host.SLAB,
        COLUMNS=2 * host.WARP_COLUMNS,
        ROWS=host.ROWS,
    )
    compiled = compile_for_hopper(
        kernels.mix_kernel, element, constants, num_warps=2, maxnreg=limit
    )
    used = resources(compiled, tmp_path)
    assert used['STACK'] <= 16 and used['REG'] <= limit
    assert compiled.metadata.shared == 0
    vectors = compiled.asm['ptx'].count('ld.global.v4')
    singles = compiled.asm['ptx'].count('ld.global.b')
    assert vectors > 60 and singles < 10  # x and taps; only table entries are single


@pytest.mark.parametrize('roll_first', [False, True])
@pytest.mark.parametrize('element', ['bf16', 'fp32'])
def test_the_weight_gradient_spills_nothing(element, roll_first, tmp_path):
    from mmmsmlp.ops.mixshift.triton import host, kernels

    constants = dict(
        ROLL_FIRST=roll_first,
        SIZES=(1, 3, 5, 7),
        SLAB=host.SLAB,
        COLUMNS=host.UNIT_COLUMNS,
        ROWS=host.ROWS,
    )
    compiled = compile_for_hopper(
        kernels.correlate_kernel, element, constants, num_warps=host.UNIT_WARPS
    )
    assert resources(compiled, tmp_path)['STACK'] == 0
    assert 'ld.global.v4' in compiled.asm['ptx']


def test_packing_and_unpacking_compile():
    from mmmsmlp.ops.mixshift.triton import kernels

    kernels_and_constants = [
        (kernels.pack_kernel, dict(BLOCK=1024)),
        (kernels.unpack_kernel, dict(BLOCK=64, RANGES=32)),
    ]
    for kernel, constants in kernels_and_constants:
        compiled = compile_for_hopper(kernel, 'bf16', constants, num_warps=4)
        assert '.target sm_90' in compiled.asm['ptx']
        assert 'st.global' in compiled.asm['ptx']
