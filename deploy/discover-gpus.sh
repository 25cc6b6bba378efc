#!/usr/bin/env bash
# The GPUs of this machine as one line of JSON, for spark.executor.resource.gpu.discoveryScript and
# spark.worker.resource.gpu.discoveryScript.
set -euo pipefail
indices=$(nvidia-smi --query-gpu=index --format=csv,noheader)
if [ -z "$indices" ]; then
  echo "nvidia-smi lists no GPU on $(hostname)" >&2
  exit 1
fi
printf '{"name": "gpu", "addresses": ["%s"]}\n' "$(echo "$indices" | tr -d ' ' | paste -sd, | sed 's/,/", "/g')"
