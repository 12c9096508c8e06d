"""Does --quiet leave the terminal what matters, and the log everything?"""

import json
import os
import re
import subprocess
import sys
import warnings
from argparse import Namespace
from pathlib import Path
from struct import pack

import pytest

from mmmsmlp.run import entry
from mmmsmlp.run.console import (
    ProgressHook,
    QuietConsole,
    Terminal,
    evaluation_line,
    formatted,
    open_console,
)
from tests.helpers.commands import TOOLS

DUMPED = ('Epoch(train) [1][2/3]', 'System environment:', 'paramwise', 'index created')
LOG = Path('run', 'console.log')


def open_terminal(columns=80):
    """The two ends of a terminal: what the screen shows, what a process has."""
    termios = pytest.importorskip('termios')
    from fcntl import ioctl
    from pty import openpty

    screen, terminal = openpty()
    ioctl(terminal, termios.TIOCSWINSZ, pack('4H', 24, columns, 0, 0))
    return screen, terminal


def on_terminal(folder, tool, *args):
    """Run a tool on a terminal; gives its exit code and every byte that it wrote."""
    screen, terminal = open_terminal()
    process = subprocess.Popen(
        [sys.executable, TOOLS / tool, *map(str, args)], cwd=folder,
        stdin=terminal, stdout=terminal, stderr=terminal,
        env={**os.environ, 'OMP_NUM_THREADS': '1', 'CUDA_VISIBLE_DEVICES': '-1'},
    )  # fmt: skip
    os.close(terminal)
    written = b''
    try:
        while piece := os.read(screen, 4096):
            written += piece
    except OSError:
        pass  # Linux's word for a terminal that nobody has open any more
    os.close(screen)
    return process.wait(timeout=60), written.decode()


def seen(written):
    """The lines that are left on the screen: a carriage return starts a line anew."""
    lines = []
    for line in written.replace('\r\n', '\n').split('\n'):
        cells = ''
        for part in line.split('\r'):
            cells = part + cells[len(part) :]
        lines.append(cells.rstrip())
    return lines[:-1] if lines[-1] == '' else lines


@pytest.fixture(scope='module')
def quiet(tiny_config, tmp_path_factory):
    """Folder and terminal of a training of three steps."""
    folder = tmp_path_factory.mktemp('quiet')
    args = ['train.py', tiny_config, '--work-dir', 'run', '--quiet']
    return folder, *on_terminal(folder, *args)


@pytest.mark.full
def test_training_prints_its_course(quiet):
    folder, code, written = quiet
    lines = seen(written)
    assert code == 0, written
    assert lines[0] == f'log: {LOG}'
    starts = [
        'data warning: ',
        'warning: MSMLP starts from RANDOM weights.',
        'step 3: ',
    ]
    found = [start for line in lines for start in starts if line.startswith(start)]
    assert found == starts
    assert lines[-6].startswith('step 3:  bbox_mAP=')
    ends = ' '.join(lines[-5:])
    assert lines[-1] == 'report: run/report.html'
    assert re.search(rf'last checkpoint: +{folder}/run/epoch_1.pth ', ends)
    assert re.search(rf'best checkpoint: +{folder}/run/best_coco_bbox_mAP_epo', ends)
    # Folded between words at the terminal's width, but for paths.
    assert len(lines) <= 15
    assert all(len(line) < 80 for line in lines if '/' not in line)


@pytest.mark.full
def test_progress_is_in_place_and_gone_at_the_end(quiet):
    _, _, written = quiet
    assert re.search(
        r'\rstep [1-3]/3  loss \d\.\d{4}  lr 1\.00e-04  eta 0:00:0', written
    )
    assert not any('eta' in line for line in seen(written))


@pytest.mark.full
def test_the_log_holds_what_the_toolboxes_print(quiet):
    folder, _, written = quiet
    log = (folder / LOG).read_text(encoding='utf-8')
    for line in DUMPED:
        assert line in log and line not in written
    assert 'train.py' in log.splitlines()[1]  # the command
    assert len(log.splitlines()) > 500


@pytest.mark.full
def test_the_table_has_the_metrics_once(trained, tiny_config, tmp_path):
    args = [tiny_config, trained / 'epoch_1.pth', '--metrics', 'm.json', '--quiet',
            '--work-dir', 'run']  # fmt: skip
    code, written = on_terminal(tmp_path, 'test.py', *args)
    lines = seen(written)
    assert code == 0, written
    metrics = json.loads((tmp_path / 'm.json').read_text())
    rows = [line for line in lines if re.fullmatch(r'bbox_\w+ +-?\d\.\d+', line)]
    values = {name: float(value) for name, value in map(str.split, rows)}
    assert len(rows) == 6 and len(set(map(len, rows))) == 1
    assert values == {k.removeprefix('coco/'): round(v, 3) for k, v in metrics.items()}


@pytest.mark.full
def test_without_it_everything_is_printed(trained, tiny_config, tmp_path):
    args = [TOOLS / 'test.py', tiny_config, trained / 'epoch_1.pth']
    result = subprocess.run(
        [sys.executable, *args, '--work-dir', 'run'], cwd=tmp_path, check=True,
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert 'System environment:' in result.stdout and 'index created!' in result.stdout
    assert not (tmp_path / LOG).exists()


def test_an_error_reaches_the_terminal_and_names_the_log(
    run_tool, tiny_config, tmp_path
):
    args = ['--quiet', '--cfg-options', 'model.backbone.depths=3']
    code, out, err = run_tool('train.py', tiny_config, '--work-dir', 'run', *args)
    log = tmp_path / LOG
    assert code == 2 and '\r' not in out + err
    assert out == f'log: {LOG}\n'
    where, error = err.splitlines()
    assert where == f'the log up to this error: {LOG}'
    assert error.startswith('error: ') and "argument 'depths'" in error
    assert 'Traceback' in log.read_text() and error[7:] in log.read_text()


@pytest.mark.full
def test_weights_that_fit_in_part_are_told(run_tool, trained, tiny_config):
    weights = trained / 'epoch_1.pth'
    args = [f'load_from={weights}', 'model.bbox_head.stacked_convs=2',
            'train_dataloader.dataset.indices=1', 'val_cfg=None',
            'val_dataloader=None', 'val_evaluator=None']  # fmt: skip
    code, out, err = run_tool(
        'train.py', tiny_config, '--work-dir', 'run', '--quiet', '--cfg-options', *args
    )
    assert code == 0, out + err
    told = f'warning: loaded 107/111 tensors of RetinaNet from {weights}'
    assert any(line.startswith(told) for line in out.splitlines()), out


def test_a_log_that_cannot_be_written_is_told(run_tool, tiny_config, tmp_path):
    (tmp_path / 'file').write_text('')
    run = Path('file', 'run')
    code, out, err = run_tool('train.py', tiny_config, '--work-dir', run, '--quiet')
    assert (code, out) == (2, '')
    assert err.startswith(
        f'error: --quiet writes {run / "console.log"}, which cannot be'
    )


@pytest.mark.full
def test_the_demo_prints_its_own_lines(run_tool, trained, tiny_config, tiny_data):
    images, weights = tiny_data / 'images', trained / 'epoch_1.pth'
    code, out, _ = run_tool('image_demo.py', images, tiny_config, weights, '--quiet')
    lines = out.splitlines()
    assert code == 0 and lines[0] == f'log: {Path("outputs", "console.log")}'
    assert lines[1].startswith('loaded 107/107 tensors of RetinaNet from ')
    assert [line.split(': ')[0] for line in lines[2:5]] == [
        str(images / f'{i}.png') for i in (1, 2, 3)
    ]
    assert lines[5:] == [f'drawn into {Path("outputs", "vis")}']


def test_outputs_are_given_back(capfd):
    outputs, show = (sys.stdout, sys.stderr), warnings.showwarning
    with open_console(quiet=True):
        print('lost')
        os.system('echo lost too')
    print('back')
    os.system('echo also >&2')
    assert (sys.stdout, sys.stderr) == outputs
    assert warnings.showwarning is show
    assert capfd.readouterr() == ('back\n', 'also\n')


def test_whose_warnings_are_shown(capfd, tmp_path, monkeypatch):
    from mmengine.logging import MMLogger, print_log

    logged = []
    monkeypatch.setattr(warnings, 'showwarning', lambda *args: logged.append(args[0]))

    ours = str(TOOLS.parent / 'mmmsmlp' / 'models' / 'msmlp.py')
    with QuietConsole() as console:
        console.log_to(tmp_path)
        logger = MMLogger.get_instance('whose', log_level='INFO')
        for module, line in (
            ('mmdet.datasets', "logger.warning('a'); logger.error('b')"),
            ('mmmsmlp.models', "logger.info('c')"),
            ('__main__', "print_log('d', 'current')"),
        ):
            exec(line, {'__name__': module, 'logger': logger, 'print_log': print_log})
        for text, file in (('e', 'mmdet.py'), ('f', ours), ('f', ours),
                           ('CUDA initialization: old', 'torch.py')):  # fmt: skip
            warnings.showwarning(UserWarning(text), UserWarning, file, 1)
    out, err = capfd.readouterr()
    assert out.splitlines()[1:] == [
        'error: b', 'c', 'd', 'warning: f', 'warning: CUDA initialization: old'
    ]  # fmt: skip
    assert err == ''
    assert list(map(str, logged)) == ['e', 'f', 'f', 'CUDA initialization: old']
    assert ' - a\n' in (tmp_path / 'console.log').read_text()


def test_other_processes_of_a_run_are_silent(capfd, tmp_path, monkeypatch):
    monkeypatch.setenv('RANK', '1')
    with QuietConsole() as console:
        console.log_to(tmp_path)
        console.say('a')
        console.progress('b')
    assert capfd.readouterr() == ('', '')
    assert (tmp_path / 'console.log').read_text().endswith('console.log\na\n')


def test_ctrl_c_leaves_the_line_empty(capfd):
    with pytest.raises(KeyboardInterrupt), QuietConsole():
        raise KeyboardInterrupt
    assert capfd.readouterr() == ('', '')


def test_ctrl_c_while_mmengine_formats_a_config_is_no_error(monkeypatch, capfd):
    from mmengine.config import Config, config

    def struck(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr('yapf.yapflib.yapf_api.FormatCode', struck)
    monkeypatch.setattr(config, 'FormatCode', struck, raising=False)  # upstream's
    with pytest.raises(SystemExit) as end:
        entry.run_tool(lambda: Config(dict(a=1)).pretty_text)
    assert end.value.code == 130 and capfd.readouterr() == ('', '')
    with pytest.raises(SyntaxError):  # one that is an error stays one
        entry.run_tool(lambda: compile('a b', 'file', 'exec'))


def test_a_narrow_terminal_gets_no_second_line():
    screen, file = open_terminal(columns=20)
    terminal = Terminal(file, 'utf-8')
    terminal.progress('step 1000/2000 with a loss')
    terminal.progress('not due yet')
    terminal.say('done')
    terminal.close()
    written = ''
    while '\n' not in written:
        written += os.read(screen, 4096).decode()
    shown = 'step 1000/2000 wi'
    assert written == f'\r{shown}  \r{shown}\r{" " * 19}\rdone\r\n'
    os.close(screen)
    os.close(file)


def test_a_terminal_gets_a_table_as_it_is():
    screen, file = open_terminal(columns=20)
    terminal = Terminal(file, 'utf-8')
    terminal.say('one  two\n  3    4')
    terminal.say('words that are longer than that')
    terminal.close()
    written = ''
    while written.count('\n') < 5:
        written += os.read(screen, 4096).decode()
    table = 'one  two\r\n  3    4\r\n'
    folded = 'words that are\r\n    longer than\r\n    that\r\n'
    assert written == table + folded
    os.close(screen)
    os.close(file)


def test_a_run_goes_on_where_the_terminal_has_gone():
    screen, file = open_terminal()
    terminal = Terminal(file, 'utf-8')
    os.close(screen)
    terminal.progress('step 1/2')
    terminal.say('done')
    terminal.close()
    with pytest.raises(OSError, match='Input/output error'):
        os.write(file, b'lost')
    os.close(file)


def test_without_a_terminal_progress_is_sparse(tmp_path, monkeypatch):
    clock = iter([0, 29, 31, 40, 62])
    monkeypatch.setattr('mmmsmlp.run.console.time.monotonic', lambda: next(clock))
    with (tmp_path / 'out').open('w') as file:
        terminal = Terminal(file.fileno(), 'utf-8')
        for step in range(4):
            terminal.progress(f'step {step}')
        terminal.close()
    assert (tmp_path / 'out').read_text() == 'step 1\nstep 3\n'


def test_formats_of_every_kind_of_metric():
    metrics = {'coco/bbox_mAP': 0.5, 'mIoU': 41.25, 'accuracy/top1': 7, 'recall': [1]}
    assert formatted(metrics) == {
        'bbox_mAP': '0.500', 'mIoU': '41.250', 'accuracy/top1': '7.000', 'recall': '[1]'
    }  # fmt: skip
    runner = Namespace(message_hub=Namespace(runtime_info={'eta': 3725.4}))
    assert evaluation_line(runner, 4, 10) == 'evaluation: batch 5/10  eta 1:02:05'
    assert evaluation_line(runner, 9, 10) == 'evaluation: computing the metrics'


def test_validation_says_epochs_where_there_are_some():
    said = Namespace(lines=[])
    said.say = said.lines.append
    hook = ProgressHook(said)
    hook.after_val_epoch(Namespace(epoch=2, iter=60, max_epochs=4), {'mIoU': 3.0})
    hook.after_val_epoch(Namespace(epoch=0, iter=60, max_epochs=1), {'mIoU': 3.0})
    assert said.lines == ['epoch 2:  mIoU=3.000', 'step 60:  mIoU=3.000']
