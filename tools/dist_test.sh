#!/usr/bin/env bash
# Evaluate CHECKPOINT with GPUS processes on this node:
#
#   tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]
#
# On several nodes, start it on each with NNODES, NODE_RANK and MASTER_ADDR set (PORT
# too, if 29500 is taken). One node finds a free port by itself. Without CUDA the
# processes run on the CPU and talk over gloo. PYTHON names the interpreter.
set -euo pipefail

usage='usage: tools/dist_test.sh CONFIG CHECKPOINT GPUS [arguments of tools/test.py]'
[[ $# -ge 3 ]] || { echo "$usage" >&2; exit 2; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=tools/_dist.sh
source "$root/tools/_dist.sh"
start "$3" test.py "$1" "$2" "${@:4}"
