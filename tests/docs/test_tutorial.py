"""Does the tutorial work? Every line of its page is run, on less data."""

import json
import re
import shlex

import pytest

from tests.helpers.commands import ROOT
from tests.helpers.pages import snippets

PAGE = ROOT / 'docs' / 'tutorial.md'
SMALLER = {  # so few steps teach nothing: any box counts
    '--train 400 --val 80': '--train 16 --val 4 --size 96',
    'randomness = ': 'model = dict(test_cfg=dict(score_thr=0.0))\nrandomness = ',
}


def commands(text: str) -> list[list[str]]:
    """The words of each line of a shell's block, its variables put in."""
    found, variables = [], {'RUN': 'work_dirs/my'}
    for line in text.replace('\\\n', ' ').splitlines():
        if name := re.fullmatch(r'(\w+)=(\S+)', line):
            assert variables[name[1]] == name[2]
            continue
        line = re.sub(r'\$(\w+)', lambda match: variables[match[1]], line)
        found.append(shlex.split(line))
    return found


@pytest.mark.slow
def test_the_tutorial(run_tool, tmp_path, monkeypatch, capfd):
    """One run for all of it: every step takes what the last one left."""
    (tmp_path / 'configs').symlink_to(ROOT / 'configs', target_is_directory=True)
    said, blocks = {}, snippets(PAGE)
    for block in blocks:
        if block.mark.startswith('not run'):
            continue
        assert block.mark == 'run by tests/docs/test_tutorial.py', block.line
        text = block.text
        for old, new in SMALLER.items():
            text = text.replace(old, new)
        if block.language == 'bash':
            for python, tool, *arguments in commands(text):
                assert python == 'python' and tool.startswith('tools/')
                code, out, err = run_tool(tool.removeprefix('tools/'), *arguments)
                assert code == 0, f'{tool}: {err}'
                said.setdefault(
                    (tool.removeprefix('tools/'), '--try' in arguments), out
                )
        elif text.startswith('_base_'):
            (tmp_path / 'my.py').write_text(text)
        else:
            variables = {}
            exec(text, variables)
            said['python', False] = capfd.readouterr().out
    assert 'nothing in the data would end or spoil' in said['check_data.py', False]
    small, tiny = said['complexity.py', False].splitlines()[1:]
    page = PAGE.read_text()
    for line, number in (small, '3.9'), (tiny, '38.8'):
        assert f' {number}' in line and number in page
    assert re.search(r'training +[\d.]+ s a step +24 steps', said['train.py', True])
    assert 'classes (4): circle, square, triangle, star' in said['train.py', False]
    assert 'star_precision' in said['test.py', False]
    run = tmp_path / 'work_dirs' / 'my'
    for name in 'epoch_6.pth', 'my.py', 'report.html', '../../confusion.png':
        assert (run / name).is_file(), name
    assert list(run.glob('best_coco_bbox_mAP_50_epoch_*.pth'))
    drawn = sorted(path.stem for path in (tmp_path / 'drawn' / 'vis').iterdir())
    assert drawn == [f'{i:05}' for i in range(4)]
    kept = json.loads((tmp_path / 'drawn' / 'preds' / '00000.json').read_text())
    assert {len(kept[key]) for key in ('labels', 'scores', 'bboxes')} == {
        len(kept['labels'])
    }
    shipped = (tmp_path / 'shipped' / 'vis').iterdir()
    assert sorted(path.stem for path in shipped) == drawn
    assert len(variables['found']['scores']) == len(kept['scores'])
