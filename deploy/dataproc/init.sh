#!/usr/bin/env bash
# Initialisation action for Dataproc, image 3.0 or newer. Name a folder in Google Cloud Storage with
# the wheel and constraints.txt in the cluster's metadata, and the Python in its properties:
#   gcloud dataproc clusters create images --image-version=3.0-debian12 \
#     --initialization-actions=gs://BUCKET/pulmospark/init.sh \
#     --metadata=pulmospark-from=gs://BUCKET/pulmospark \
#     --properties=spark:spark.pyspark.python=/opt/pulmospark/bin/python
set -euo pipefail
from=$(/usr/share/google/get_metadata_value attributes/pulmospark-from)
work=$(mktemp -d)
gcloud storage cp "${from%/}/pulmospark-*.whl" "${from%/}/constraints.txt" "$work"
index=()
if ! command -v nvidia-smi > /dev/null; then # PyTorch without CUDA
  index=(--extra-index-url https://download.pytorch.org/whl/cpu)
fi
# The image's Python, which Spark's own workers run, too.
"$(command -v python3)" -m venv /opt/pulmospark
/opt/pulmospark/bin/pip install --quiet --constraint "$work/constraints.txt" "${index[@]}" \
  "$(echo "$work"/pulmospark-*.whl)[store]"
