"""Where the tools are, and what it looks like when one refuses its input."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOOLS = ROOT / 'tools'


def assert_fails(result, *fragments):
    """``(exit code, stdout, stderr)`` is one error line that holds ``fragments``."""
    code, out, err = result
    assert code == 2, out + err
    assert 'Traceback' not in out + err
    errors = [line for line in err.splitlines() if 'error:' in line]
    assert len(errors) == 1, err
    for fragment in fragments:
        assert fragment in errors[0]
