# shellcheck shell=bash disable=SC2034,SC2154  # shares variables with its caller
# Sourced by slurm_train.sh and slurm_test.sh: what srun is asked for.
# Reads $partition and $job_name; sets $root and the array srun_args.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
command -v srun >/dev/null || { echo 'error: srun is not on the PATH' >&2; exit 2; }
gpus=${GPUS:-8}
cpus=${CPUS_PER_TASK:-5}
for value in "$gpus" "$cpus" "${GPUS_PER_NODE:-1}"; do
    if [[ ! $value =~ ^[1-9][0-9]*$ ]]; then
        echo "error: GPUS, GPUS_PER_NODE and CPUS_PER_TASK must be numbers, 1 or" \
            "more, got '$value'" >&2
        exit 2
    fi
done
per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}

srun_args=(
    --partition="$partition" --job-name="$job_name" --ntasks="$gpus"
    --ntasks-per-node="$per_node" --cpus-per-task="$cpus" --kill-on-bad-exit=1
)
# A partition without GPUs would refuse the job; its tasks then run on the CPU.
if offered=$(sinfo --noheader --partition="$partition" --format=%G 2>/dev/null) &&
    [[ -n $offered && $offered != *gpu* ]]; then
    echo "partition $partition offers no GPU: running $gpus CPU tasks" >&2
else
    srun_args+=(--gres="gpu:$per_node")
fi
# Split into words, as OpenMMLab users expect of SRUN_ARGS.
read -r -a extra <<<"${SRUN_ARGS:-}"
srun_args+=("${extra[@]}")

export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}"
