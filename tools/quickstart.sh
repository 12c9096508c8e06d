#!/usr/bin/env bash
# Does MS-MLP detect anything on this machine? From nothing to boxes on an image.
#
#   bash tools/quickstart.sh
#
# Makes the environment if need be, generates a small detection dataset, trains a
# RetinaNet with an MS-MLP backbone on it, evaluates COCO AP and draws detections.
# Every step is the command that you would type; results lie in work_dirs/quickstart.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
config=configs/demo/retinanet_msmlp_demo.py
data=work_dirs/demo_data
work_dir=work_dirs/quickstart
threshold=0.60

say() { printf '\nquickstart: %s\n' "$*"; }

python=$(bash tools/env.sh)
start=$SECONDS
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
PATH=$(dirname "$python"):$PATH
export PATH
# Waiting threads that spin make a step ten times slower where a core is shared.
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive}

say "1/4 the dataset, in $data"
python tools/make_demo_data.py "$data"

say "2/4 training (minutes; the log shows the time left), in $work_dir"
rm -rf "$work_dir"
python tools/train.py "$config" --work-dir "$work_dir"
checkpoint=$(<"$work_dir/last_checkpoint")

say "3/4 evaluating $checkpoint"
python tools/test.py "$config" "$checkpoint" --work-dir "$work_dir" \
    --metrics "$work_dir/metrics.json"

say "4/4 drawing detections, in $work_dir/detections"
python tools/image_demo.py "$data/val/*0.jpg" "$config" "$checkpoint" \
    --out-dir "$work_dir/detections"
images=("$work_dir"/detections/vis/*)

say "took $(((SECONDS - start) / 60)) min $(((SECONDS - start) % 60)) s" \
    'after the environment'
python - "$work_dir/metrics.json" "$threshold" "${images[0]}" <<'END'
import json
import sys

path, threshold, image = sys.argv[1:]
score = json.load(open(path))['coco/bbox_mAP_50']
if score < float(threshold):
    print(f'error: bbox_mAP_50 is below {threshold}', file=sys.stderr, flush=True)
print(f'quickstart: bbox_mAP_50={score:.3f} image={image}')
sys.exit(score < float(threshold))
END
