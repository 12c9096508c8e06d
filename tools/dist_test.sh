#!/usr/bin/env bash
# Evaluate CHECKPOINT with GPUS processes on this node:
#
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
#
# Several nodes, a CPU, another interpreter: see tools/dist_train.sh.
set -euo pipefail

usage='usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]'
[[ $# -ge 3 ]] || { echo "$usage" >&2; exit 2; }

# shellcheck source=tools/_dist.sh
source "$(dirname "${BASH_SOURCE[0]}")/_dist.sh"
start "$3" test.py "$1" "$2" "${@:4}"
