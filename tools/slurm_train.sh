#!/usr/bin/env bash
# Train CONFIG under Slurm, one task a GPU:
#
#   GPUS=8 tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of tools/train.py]
#
# GPUS tasks in all (default 8), GPUS_PER_NODE of them on a node (default 8 or GPUS),
# CPUS_PER_TASK (default 5), SRUN_ARGS: further arguments of srun. On a partition
# without GPUs the tasks run on the CPU.
set -euo pipefail

usage='usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG [arguments of train.py]'
[[ $# -ge 3 ]] || { echo "$usage" >&2; exit 2; }
partition=$1 job_name=$2

# shellcheck source=tools/_slurm.sh
source "$(dirname "${BASH_SOURCE[0]}")/_slurm.sh"
exec srun "${srun_args[@]}" "${PYTHON:-python}" -u "$root/tools/train.py" \
    "$3" --launcher slurm "${@:4}"
