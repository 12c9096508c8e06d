#!/usr/bin/env bash
# Evaluate CHECKPOINT with GPUS processes on this node; PYTHON names the interpreter:
#
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
#
# See tools/dist_test.py, which it runs.
set -euo pipefail
exec "${PYTHON:-python}" "$(dirname "${BASH_SOURCE[0]}")/dist_test.py" "$@"
