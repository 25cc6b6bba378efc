#!/usr/bin/env bash
# Bootstrap action for EMR on EC2, release emr-spark-8.0.0 or newer; its argument is a folder in S3
# with the wheel and constraints.txt. configurations.json names the Python that it makes.
set -euo pipefail
from=${1:?folder in S3 with the wheel and constraints.txt}
work=$(mktemp -d)
aws s3 cp --quiet --recursive --exclude '*' --include 'pulmospark-*.whl' \
  --include constraints.txt "${from%/}/" "$work"
index=()
if ! command -v nvidia-smi > /dev/null; then # PyTorch without CUDA
  index=(--extra-index-url https://download.pytorch.org/whl/cpu)
fi
sudo python3.11 -m venv /opt/pulmospark
sudo /opt/pulmospark/bin/pip install --quiet --constraint "$work/constraints.txt" "${index[@]}" \
  "$(echo "$work"/pulmospark-*.whl)[store]"
