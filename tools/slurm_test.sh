#!/usr/bin/env bash
# Evaluate CHECKPOINT under Slurm, one task a GPU:
#
#   GPUS=8 tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [args of test.py]
#
# GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS, CPUs: see tools/slurm_train.sh.
set -euo pipefail

usage='usage: tools/slurm_test.sh PARTITION JOB_NAME CONFIG CHECKPOINT [args of test.py]'
[[ $# -ge 4 ]] || { echo "$usage" >&2; exit 2; }
partition=$1 job_name=$2

# shellcheck source=tools/_slurm.sh
source "$(dirname "${BASH_SOURCE[0]}")/_slurm.sh"
exec srun "${srun_args[@]}" "${PYTHON:-python}" -u "$root/tools/test.py" \
    "$3" "$4" --launcher slurm "${@:5}"
