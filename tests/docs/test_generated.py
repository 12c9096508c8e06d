"""Are the pages that tools/docs.py writes those of the docstrings and measurements?"""

import importlib.util
import json
import re

from tests.helpers.commands import ROOT, TOOLS
from zoo import api, notes


def test_every_generated_file_is_in_step():
    spec = importlib.util.spec_from_file_location('docs_tool', TOOLS / 'docs.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    for name, text in tool.files().items():
        assert (ROOT / 'docs' / name).read_text() == text, f'run tools/docs.py: {name}'


def test_the_page_of_the_api_has_signatures_and_arguments():
    page = api.page()
    assert '### mmmsmlp.with_backbone\n' in page and '### mmmsmlp.ops.mix_shift' in page
    entry = page.split('### mmmsmlp.MSMLP\n')[1].split('\n### ')[0]
    assert "    arch: str | Mapping='tiny',\n" in entry and 'self' not in entry
    assert '- `patch_size`: 4, or 2 for a stage 0 of two blocks' in entry
    assert '](https://arxiv.org/abs/2202.06510)' in entry
    assert 'LayerDecayOptimWrapperConstructor' in page
    assert not re.search(r':\w+:`|(?<!`)``[^`\n]', page)  # Sphinx's own marks


def test_the_summary_and_the_chart_say_what_was_measured():
    kept = json.loads((ROOT / 'docs/benchmarks/cpu_t_tuned.json').read_text())
    rows = {(r['section'], r['shape'], r['key']): r for r in kept['results']}
    ours = rows['memory', '1x800x1280', 'msmlp']
    (line,) = (x for x in notes.summary().splitlines() if 'memory, 1x800' in x)
    assert [float(cell) for cell in line.split('|')[2:-1]] == [
        round(ours['of'][peer], 2)
        for peer in ('straightforward', 'swin', 'convnext', 'focal')
    ]
    drawn = notes.chart('tuned')
    peer = rows['memory', '1x800x1280', 'swin']
    wide = (notes.WIDE - 60) * peer['mb'] / rows['memory', '1x800x1280', 'focal']['mb']
    assert f'width="{wide:.1f}"' in drawn and f'>{peer["mb"]:.0f}</text>' in drawn
    assert drawn.count('<rect') == 9 * 9
