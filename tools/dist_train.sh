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
if [[ ! $2 =~ ^[1-9][0-9]*$ ]]; then
    echo "error: GPUS must be a number of processes, 1 or more, got '$2'" >&2
    echo "$usage" >&2
    exit 2
fi

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
exec "${PYTHON:-python}" -m mmmsmlp.engine.torchrun "$2" "$root/tools/train.py" \
    "$1" "${@:3}"
