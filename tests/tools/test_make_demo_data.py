"""What does the command for the demo dataset print and return?"""

import subprocess
import sys
from pathlib import Path

TOOL = Path(__file__).parents[2] / 'tools' / 'make_demo_data.py'


def call(*arguments, cwd):
    return subprocess.run(
        [sys.executable, TOOL, *arguments], cwd=cwd, capture_output=True, text=True
    )


def test_makes_the_data_once_from_any_directory(tmp_path):
    arguments = ('data/my demo', '--train', '2', '--val', '1', '--semantic')
    first = call(*arguments, cwd=tmp_path)
    assert (first.returncode, first.stderr) == (0, '')
    assert first.stdout == 'data/my demo: made\n'
    assert (tmp_path / 'data/my demo/semantic/train/00001.png').is_file()
    second = call(*arguments, cwd=tmp_path)
    assert second.returncode == 0
    assert 'nothing to do' in second.stdout


def test_bad_input_is_one_line_and_exit_2(tmp_path):
    (tmp_path / 'file').write_text('')
    for arguments in (('out', '--size', '8'), ('file',), ('file/demo',)):
        result = call(*arguments, cwd=tmp_path)
        assert result.returncode == 2
        assert result.stderr.startswith('error: ')
        assert len(result.stderr.splitlines()) == 1
