"""What the Triton kernels take of a GPU, by Triton's compiler alone: no GPU is needed.

``PYTHONPATH=tools python -m benchmarks.kernels FILE`` writes FILE, kept as
docs/benchmarks/kernels.json, and prints the table of docs/notes/kernels.md; it takes a
quarter of an hour on two busy cores.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

from . import report

ELEMENTS = {'bf16': 2, 'fp16': 2, 'fp32': 4}
SIZES = (1, 3, 5, 7)
TABLES = ('items_ptr', 'passes_ptr', 'jobs_ptr', 'index_ptr')
# By compute capability: warps and programs that a multiprocessor holds, and KiB of
# shared memory (CUDA C++ Programming Guide, technical specifications).
LIMITS = {
    80: (64, 32, 164),
    86: (48, 16, 100),
    89: (48, 24, 100),
    90: (64, 32, 228),
    100: (64, 32, 228),
    120: (48, 24, 100),
}
REGISTERS = 65536  # of a multiprocessor, given out to warps in units of UNIT
UNIT = 256
RESERVED = 1024  # bytes of shared memory that each program takes besides its own


def compile_kernel(
    kernel: Any, element: str, constants: dict, capability: int = 90, **options: Any
) -> Any:
    """Compile as a launch on tensors of 16-byte alignment would."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    def kind(name: str) -> str:
        if name in constants:
            return 'constexpr'
        if not name.endswith('_ptr'):
            return 'i32'
        single = name in ('pack_ptr', 'partial_ptr')
        return '*i32' if name in TABLES else '*fp32' if single else f'*{element}'

    signature = {name: kind(name) for name in kernel.arg_names}
    aligned = {
        (position,): [['tt.divisibility', 16]]
        for position, (name, type_) in enumerate(signature.items())
        if type_.startswith('*') or name == 'channels'
    }
    source = ASTSource(kernel, signature, constants, aligned)
    target = GPUTarget('cuda', capability, 32)
    return triton.compile(source, target=target, options=options)


def resources(compiled: Any) -> dict[str, int]:
    """Registers a thread and bytes of stack, which is where they spill, of a kernel.

    Raises:
        FileNotFoundError: This Triton ships no disassembler.
    """
    import triton

    tool = Path(triton.__file__).parent / 'backends/nvidia/bin/cuobjdump'
    with tempfile.TemporaryDirectory() as folder:
        cubin = Path(folder, 'kernel.cubin')
        cubin.write_bytes(compiled.asm['cubin'])
        command = [tool, '-res-usage', cubin]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = {name: int(n) for name, n in re.findall(r'(REG|STACK):(\d+)', done.stdout)}
    return dict(
        registers=found['REG'], stack=found['STACK'], shared=compiled.metadata.shared
    )


def occupancy(capability: int, warps: int, registers: int, shared: int) -> float:
    """Share of a multiprocessor's warps that run at once."""
    most_warps, most_programs, kib = LIMITS[capability]
    of_warp = -(-32 * registers // UNIT) * UNIT
    programs = min(
        REGISTERS // of_warp // warps,
        most_programs,
        most_warps // warps,
        1024 * kib // (shared + RESERVED),
    )
    return programs * warps / most_warps


def compile_all(capability: int) -> Iterator[dict]:
    """Every form of the two kernels that do the work, for one kind of GPU."""
    from mmmsmlp.ops.mixshift.triton import host, kernels

    for (element, size), roll_first in product(ELEMENTS.items(), (False, True)):
        common = dict(
            ROLL_FIRST=roll_first, SIZES=SIZES, SLAB=host.SLAB, ROWS=host.ROWS
        )
        forms = [
            ('mix', kernels.mix_kernel, warps, warps * host.WARP_COLUMNS)
            for warps in (1, 2)
        ]
        warps = host.UNIT_WARPS
        forms += [('correlate', kernels.correlate_kernel, warps, host.UNIT_COLUMNS)]
        for name, kernel, warps, columns in forms:
            capped = dict(maxnreg=host.MIX_REGISTERS[size]) if name == 'mix' else {}
            constants = dict(common, COLUMNS=columns)
            options = dict(num_warps=warps, **capped)
            compiled = compile_kernel(kernel, element, constants, capability, **options)
            used = resources(compiled)
            share = occupancy(capability, warps, used['registers'], used['shared'])
            place = dict(capability=capability, kernel=name, element=element)
            place |= dict(roll_first=roll_first, warps=warps)
            yield dict(place, **used, occupancy=round(share, 3))


def table(rows: list[dict]) -> str:
    """Per GPU and kernel, in Markdown: the most of each, and the least occupancy."""
    lines = [('', 'kernel', 'registers', 'spilled', 'shared memory', 'occupancy')]
    keys = {(row['capability'], row['kernel'], row['element']): 0 for row in rows}
    for key in keys:
        names = 'capability', 'kernel', 'element'
        mine = [row for row in rows if tuple(row[name] for name in names) == key]

        def most(name: str, mine: list[dict] = mine) -> int:
            return max(row[name] for row in mine)

        shares = [row['occupancy'] for row in mine]
        lines.append((
            f'sm_{key[0]}', f'{key[1]}, {key[2]}', str(most('registers')),
            f'{most("stack")} bytes', f'{most("shared")} bytes',
            f'{min(shares):.2f}-{max(shares):.2f}',
        ))  # fmt: skip
    return '\n'.join(report.align(lines))


def main() -> None:
    import triton

    rows = []
    for capability in LIMITS:
        rows += compile_all(capability)
    result = dict(triton=triton.__version__, rows=rows)
    Path(sys.argv[1]).write_text(json.dumps(result, indent=1) + '\n', encoding='utf-8')
    print(table(rows))


if __name__ == '__main__':
    main()
