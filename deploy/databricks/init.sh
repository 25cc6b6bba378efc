#!/usr/bin/env bash
# Cluster-scoped init script, for Dedicated access mode. Put it with the wheel and constraints.txt
# into a Unity Catalog volume, and name that volume in the cluster's environment variables:
#   PULMOSPARK_FROM=/Volumes/CATALOG/SCHEMA/VOLUME/pulmospark
# PySpark is the runtime's own: the wheel brings none.
set -euo pipefail
from=${PULMOSPARK_FROM:?set it in the environment variables of the cluster}
index=()
if ! command -v nvidia-smi > /dev/null; then # PyTorch without CUDA
  index=(--extra-index-url https://download.pytorch.org/whl/cpu)
fi
# Of the runtime's own packages only those are replaced that are too old.
/databricks/python/bin/pip install --quiet --upgrade-strategy only-if-needed "${index[@]}" \
  "$(echo "$from"/pulmospark-*.whl)[store]"
