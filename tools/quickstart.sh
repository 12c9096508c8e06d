#!/usr/bin/env bash
# Does MS-MLP detect anything on this machine? From nothing to boxes on an image.
#
#   bash tools/quickstart.sh
#
# Makes the environment if need be, then runs tools/quickstart.py with it: data,
# training, COCO AP, drawn boxes; results lie in work_dirs/quickstart.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=$(bash tools/env.sh)
exec "$python" tools/quickstart.py "$@"
