# shellcheck shell=bash disable=SC2154  # shares variables with its caller
# Sourced by dist_train.sh and dist_test.sh: how they start processes on this node.
# Reads $usage; sets $root.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

start() { # PROCESSES TOOL CONFIG [arguments]
    if [[ ! $1 =~ ^[1-9][0-9]*$ ]]; then
        echo "error: GPUS must be a number of processes, 1 or more, got '$1'" >&2
        echo "$usage" >&2
        exit 2
    fi
    export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
    export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
    exec "${PYTHON:-python}" -m mmmsmlp.run.launch "$1" "$root/tools/$2" "${@:3}"
}
