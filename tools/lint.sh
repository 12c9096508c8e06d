#!/usr/bin/env bash
# Is the code clean? Makes the environment if need be, then runs every linter.
#
#   bash tools/lint.sh
#
# All of them run, whichever fails. The settings are in pyproject.toml.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(bash tools/env.sh tests)
bin=$(dirname "$python")
failed=0

lint() { # TOOL [arguments]
    printf 'lint: %s\n' "$*"
    if [[ ! -x $bin/$1 ]]; then
        echo "error: $bin has no $1. Run $python -m pip install -r" \
            'requirements/tests.txt, or deactivate that environment.' >&2
        failed=1
        return
    fi
    "$bin/$1" "${@:2}" || failed=1
}

lint ruff check .
lint ruff format --check .
lint ruff check --preview --select PLW1514 mmmsmlp tools setup.py  # encodings
lint shellcheck --external-sources tools/*.sh .ci/run
lint mypy
exit "$failed"
