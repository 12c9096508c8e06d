#!/usr/bin/env bash
# Train CONFIG with GPUS processes on this node; PYTHON names the interpreter:
#
#   tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
#
# See tools/dist_train.py, which it runs.
set -euo pipefail
exec "${PYTHON:-python}" "$(dirname "${BASH_SOURCE[0]}")/dist_train.py" "$@"
