#!/usr/bin/env bash
# Are the tests green? Makes the environment if need be, then runs pytest.
#
#   bash tools/run_tests.sh [--fast | --all] [pytest arguments]
#
# --fast leaves out what is marked full (under two minutes: for every change), --all
# adds what is marked slow. Paths are relative to the root of the checkout.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(bash tools/env.sh tests)

# This checkout comes first, so that two clones never run each other's code.
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
PATH=$(dirname "$python"):$PATH
export PATH
# Tests start processes of their own; one thread each keeps them from crowding.
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} MKL_NUM_THREADS=${MKL_NUM_THREADS:-1}

exec "$python" -m pytest "$@" </dev/null
