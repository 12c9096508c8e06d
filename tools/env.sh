#!/usr/bin/env bash
# Which Python runs this checkout? Prints its path, making the environment if need be.
#
#   PYTHON=$(bash tools/env.sh)          # enough for training and evaluation
#   PYTHON=$(bash tools/env.sh tests)    # with the test tools
#
# An activated virtualenv or conda environment that satisfies the requirements is
# used as it is. Otherwise an environment with third parties only is made once under
# $MMMSMLP_ENV_ROOT (default ~/.cache/mmmsmlp). The checkout is never installed into
# it: callers put their own checkout first on PYTHONPATH.
#
# MMMSMLP_STACK=upstream takes OpenMMLab's own releases on torch 2.1.2 instead of the
# maintained ones on torch 2.11, and MMMSMLP_PYTHON names the interpreter to build with.
# mmcv's operators are torchvision's (python -m mmmsmlp mmcv-ops) and need no compiler;
# MMMSMLP_COMPILE_MMCV=1 builds mmcv's own, and a wheel of them in PIP_FIND_LINKS is
# taken. CUDA_VISIBLE_DEVICES= (empty) asks for a CPU build on a machine with a GPU.
set -euo pipefail

repo=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
purpose=${1:-run}
env_root=${MMMSMLP_ENV_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/mmmsmlp}
stack=${MMMSMLP_STACK:-maintained}
pins=$repo/requirements/$stack
disk_needed_gb=12     # the environment 6, its downloads 3, and those in pip's cache 3
[[ -z ${PIP_NO_CACHE_DIR:-} ]] || disk_needed_gb=9
case $stack in  # Pythons, the preferred first; CUDA of the torch wheel
    maintained) pythons='3.11 3.12 3.10 3.13' cuda=13.0 ;;
    upstream) pythons='3.10 3.11' cuda=12.1 ;;
    *) printf "error: MMMSMLP_STACK is '%s'; set it to maintained or upstream\n" \
           "$stack" >&2
       exit 2 ;;
esac
problems=0

say() { printf 'env: %s\n' "$*" >&2; }
problem() { printf 'error: %s\n' "$*" >&2; problems=$((problems + 1)); }

# --- an activated environment --------------------------------------------------

activated_python() {
    local prefix=${VIRTUAL_ENV:-${CONDA_PREFIX:-}}
    [[ -n $prefix && -x $prefix/bin/python ]] && printf '%s\n' "$prefix/bin/python"
}

# Prints the activated environment's python if it will do; exits 2 if it would break.
try_activated() {
    local python status=0
    python=$(activated_python) || return 1
    "$python" "$repo/tools/check_env.py" "$purpose" >&2 || status=$?
    case $status in
        0) say "using the activated environment ${python%/bin/python} as it is"
           printf '%s\n' "$python" ;;
        3) exit 2 ;;
        *) say "the activated environment ${python%/bin/python} does not satisfy" \
               'the requirements (above); using one of my own instead'
           return 1 ;;
    esac
}

# --- what to build with ---------------------------------------------------------

candidate_pythons() {
    if [[ -n ${MMMSMLP_PYTHON:-} ]]; then
        command -v "$MMMSMLP_PYTHON" || true
        return
    fi
    local name version
    for version in $pythons; do
        command -v "python$version" || true
        for name in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
            [[ -x $name ]] && printf '%s\n' "$name"
        done
    done
    for name in python3 python; do command -v "$name" || true; done
}

# Prints 'MINOR PATH' of the first candidate that can make an environment.
find_python() {
    local python minor seen=''
    while read -r python; do
        # A pyenv shim of a version that is not selected fails here and is passed by.
        minor=$("$python" -c 'import sys
print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
        if [[ " $pythons " != *" $minor "* ]]; then
            seen+=" $python ($minor)"
        elif "$python" -c 'import venv, ensurepip' 2>/dev/null; then
            printf '%s %s\n' "$minor" "$python"
            return
        else
            seen+=" $python ($minor, without venv)"
        fi
    done < <(candidate_pythons)
    problem "no usable Python ${pythons// /, }; found:${seen:- none}." \
        'Install one with its venv module (Debian, Ubuntu: apt-get install' \
        'python3.11 python3.11-venv; or: pyenv install 3.11), or name one in' \
        'MMMSMLP_PYTHON.'
    return 1
}

wants_cuda() {
    [[ ${CUDA_VISIBLE_DEVICES-all} != '' && ${CUDA_VISIBLE_DEVICES-all} != -1 ]] &&
        nvidia-smi -L >/dev/null 2>&1
}

# Is a compiled wheel of the pinned mmcv for this Python in a folder of PIP_FIND_LINKS?
has_mmcv_wheel() {
    local folder wheel name=${mmcv//-/_}
    for folder in ${PIP_FIND_LINKS:-}; do
        for wheel in "${folder#file://}/${name/==/-}-cp${minor/./}"-*.whl; do
            [[ -e $wheel ]] && return
        done
    done
    return 1
}

# Whose operators mmcv gets: pure (ours), wheel, compiled-cpu or compiled-cuda.
choose_operators() {
    if has_mmcv_wheel; then
        printf 'wheel\n'
    elif [[ ${MMMSMLP_COMPILE_MMCV:-0} == 0 ]]; then
        printf 'pure\n'
    elif wants_cuda; then
        printf 'compiled-cuda\n'
    else
        printf 'compiled-cpu\n'
    fi
}

# --- what cannot work is said before anything is built ---------------------------

check_compiler() {
    local compiler=${CXX:-c++}
    if ! echo 'int main() {}' | $compiler -x c++ -c - -o /dev/null 2>/dev/null; then
        problem "no working C++ compiler ('$compiler'), which MMMSMLP_COMPILE_MMCV" \
            'takes. Install one (Debian, Ubuntu: apt-get install g++; Fedora: dnf' \
            'install gcc-c++), or unset it: nothing else needs one.'
    fi
    if ! "$python" -c 'import os, sysconfig
os.stat(os.path.join(sysconfig.get_path("include"), "Python.h"))' 2>/dev/null; then
        problem "$python has no headers (Python.h), which MMMSMLP_COMPILE_MMCV takes." \
            "Install them (Debian, Ubuntu: apt-get install python$minor-dev), or" \
            'unset it: nothing else needs them.'
    fi
}

check_nvcc() {
    local nvcc release
    # The order in which torch looks for it.
    if [[ -n ${CUDA_HOME:-} ]]; then
        nvcc=$CUDA_HOME/bin/nvcc
    else
        nvcc=$(command -v nvcc) || nvcc=/usr/local/cuda/bin/nvcc
    fi
    release=$("$nvcc" --version 2>/dev/null |
        sed -n 's/.*release \([0-9]*\.[0-9]*\).*/\1/p') || true
    [[ $release == "${cuda%.*}".* ]] && return
    problem "this machine has an NVIDIA GPU, but nvcc is ${release:-missing}, and" \
        "building mmcv's CUDA operators for the pinned torch takes CUDA $cuda." \
        'Install that toolkit and set CUDA_HOME to it, unset MMMSMLP_COMPILE_MMCV, or' \
        'set CUDA_VISIBLE_DEVICES= (empty) to build and run on the CPU.'
}

check_disk() {
    local folder=$env_root free
    while [[ ! -d $folder ]]; do folder=$(dirname "$folder"); done
    free=$(df -Pk "$folder" | awk 'NR == 2 { print int($4 / 1048576) }')
    ((free >= disk_needed_gb)) && return
    problem "$folder has $free GB free, and the environment takes $disk_needed_gb" \
        'GB while it is made (6 to stay). Free some, set MMMSMLP_ENV_ROOT to a folder' \
        'on a larger disk, or set PIP_NO_CACHE_DIR=1, which saves 3.'
}

preflight() {
    if [[ $operators == compiled-* ]]; then check_compiler; fi
    if [[ $operators == compiled-cuda ]]; then check_nvcc; fi
    check_disk
    if ((problems)); then
        say 'nothing was built'
        exit 2
    fi
}

# --- making it -------------------------------------------------------------------

# Runs a command with its output in the log and a line of life every half minute.
step() {
    local title=$1 start=$SECONDS beat status=0
    shift
    say "$title"
    while sleep 1; do
        (((SECONDS - start) % 30)) || say "    still at it after" \
            "$(((SECONDS - start) / 60)) min $(((SECONDS - start) % 60)) s (log: $log)"
    done 9>&- &
    beat=$!
    # shellcheck disable=SC2064
    trap "kill $beat 2>/dev/null || true" EXIT
    "$@" >>"$log" 2>&1 9>&- || status=$?
    kill "$beat" 2>/dev/null || true
    wait "$beat" 2>/dev/null || true
    trap - EXIT
    ((status == 0)) && return
    tail -n 25 "$log" >&2
    say "failed at: $title (the whole log: $log). Start again to build it anew."
    exit 1
}

# shellcheck disable=SC2329  # step calls it
install() { "$env/bin/python" -m pip --disable-pip-version-check install "$@"; }

# shellcheck disable=SC2329  # step calls it
compile_mmcv() {
    local memory_gb jobs
    memory_gb=$(awk '/MemAvailable/ { print int($2 / 1048576) }' /proc/meminfo)
    # A compiler process of this build takes up to 2 GB.
    jobs=$((memory_gb / 2 < $(nproc) ? memory_gb / 2 : $(nproc)))
    export CFLAGS="${CFLAGS:-} -g0" MMCV_WITH_OPS=1 FORCE_CUDA=0
    export MAX_JOBS=${MAX_JOBS:-$((jobs > 0 ? jobs : 1))}
    if [[ $operators == *cuda ]]; then FORCE_CUDA=1; else export CUDA_VISIBLE_DEVICES=; fi
    install --no-cache-dir --no-build-isolation --no-deps "$mmcv"
}

# Without pip's cache: a wheel there may be compiled against another torch.
# shellcheck disable=SC2329  # step calls it
install_mmcv() {
    case $operators in
        compiled-*) compile_mmcv ;;
        wheel) install --no-cache-dir --no-deps "$mmcv" ;;
        pure) MMCV_WITH_OPS=0 install --no-cache-dir --no-deps "$pure_mmcv" &&
            "$env/bin/python" "$repo/tools/mmcv_ops.py" install ;;
    esac
}

# mmcv and imaug ask for both builds of OpenCV. They share one folder, and the
# headless one must be last to write it: the other needs libGL.
# shellcheck disable=SC2329  # step calls it
keep_headless_opencv() {
    install --force-reinstall --no-deps \
        "$(grep ^opencv-python-headless "$pins/stack.txt")"
}

make_env() {
    log=$env.log
    say "making $env with $python; log: $log"
    rm -rf "$env" "$env.tmp"
    mkdir -p "$env.tmp"
    export TMPDIR=$env.tmp  # /tmp may be a small one in memory
    : >"$log"
    step '1/5 an empty virtual environment' "$python" -m venv "$env"
    step '2/5 torch (some 3 GB of downloads, once)' install -r "$pins/build.txt"
    step '3/5 the toolboxes and the test tools' install --no-build-isolation \
        -r "$pins/build.txt" -r "$pins/stack.txt" -r "$repo/requirements/tests.txt"
    case $operators in
        pure) step '4/5 mmcv, with operators by torchvision' install_mmcv ;;
        wheel) step '4/5 mmcv, from the wheel in PIP_FIND_LINKS' install_mmcv ;;
        *) say "compiling mmcv's operators takes 5 to 25 minutes on two cores without" \
               'CUDA, longer with'
           step "4/5 mmcv with ${operators#*-} operators, from source" install_mmcv ;;
    esac
    step '5/5 OpenCV without a display, and a check of the whole' keep_headless_opencv
    step '    importing everything once' \
        "$env/bin/python" "$repo/tools/check_env.py" tests --import
    rm -rf "$env.tmp"
    touch "$env/.complete"
    say "made $env in $((SECONDS / 60)) min $((SECONDS % 60)) s"
}

# macOS has neither sha256sum nor flock of its own.
checksum() {
    if command -v sha256sum >/dev/null; then sha256sum; else shasum -a 256; fi |
        cut -c1-12
}

# Keeps a second start waiting while the first makes the environment.
lock() {
    command -v flock >/dev/null || return 0
    flock -n 9 || { say "another start is making $env; waiting for it"; flock 9; }
}

is_complete() { [[ -e $env/.complete ]] && "$env/bin/python" -c '' 2>/dev/null; }

main() {
    # A stack that was asked for by name is not looked for in another environment.
    if [[ -z ${MMMSMLP_STACK:-} ]]; then try_activated && return; fi
    unset PYTHONPATH PYTHONHOME  # neither may leak into what pip sees as installed
    export PIP_USER=0

    local found python minor mmcv pure_mmcv operators key env log
    found=$(find_python) || exit 2
    read -r minor python <<<"$found"
    pure_mmcv=$(grep '==' "$pins/mmcv.txt")
    mmcv=${pure_mmcv/-lite/}
    operators=$(choose_operators)
    key=$(sed 's/ *#.*//' "$pins"/*.txt "$repo"/requirements/*.txt | checksum)
    env=$env_root/env-$key-py$minor-$stack
    if [[ $operators != pure ]]; then env+=-$operators; fi

    if ! is_complete; then
        preflight
        mkdir -p "$env_root"
        exec 9>"$env.lock"
        lock
        if ! is_complete; then make_env; fi
        exec 9>&-
    fi
    say "using $env"
    printf '%s\n' "$env/bin/python"
}

main
exit  # so that an edit of this file while it runs cannot add lines to the run
