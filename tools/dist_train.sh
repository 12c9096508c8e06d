#!/usr/bin/env bash
# Train CONFIG with GPUS processes on this node:
#
#   tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]
#
# On several nodes, start it on each with NNODES, NODE_RANK and MASTER_ADDR set (PORT
# too, if 29500 is taken). One node finds a free port by itself. Without CUDA the
# processes run on the CPU and talk over gloo. PYTHON names the interpreter.
set -euo pipefail

usage='usage: tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py]'
[[ $# -ge 2 ]] || { echo "$usage" >&2; exit 2; }

# shellcheck source=tools/_dist.sh
source "$(dirname "${BASH_SOURCE[0]}")/_dist.sh"
start "$2" train.py "$1" "${@:3}"
