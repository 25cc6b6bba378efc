#!/usr/bin/env bash
# An environment as an archive that Spark ships to the machines of a cluster; without Spark itself.
#   deploy/pack.sh venv worker environment.tar.gz    executors that score with OpenVINO
#   deploy/pack.sh venv all environment.tar.gz       driver, training, GPUs
#   deploy/pack.sh conda worker environment.tar.gz   the same with a Python of its own
# What venv makes links to the Python that made it (PYTHON, by default python3), which must be at
# the same path on every machine. conda needs no Python there.
set -euo pipefail
how=${1:?venv or conda} what=${2:?worker or all}
archive=$(realpath "${3:?name of the archive, .tar.gz}")
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
case $how in
  venv) "${PYTHON:-python3}" -m venv "$folder/environment" ;;
  conda)
    conda create --quiet --yes --prefix "$folder/environment" --override-channels \
      --channel conda-forge "python=${PYTHON_VERSION:-3.11}" pip
    ;;
  *) echo "$how: say venv or conda" >&2 && exit 2 ;;
esac
"$folder/environment/bin/python" -m venv "$folder/tools"
"$folder/tools/bin/pip" install --quiet --constraint constraints.txt build conda-pack venv-pack2
"$folder/tools/bin/python" -m build --wheel --outdir "$folder" . > /dev/null
wheel=$(echo "$folder"/pulmospark-*.whl)
install=("$folder/environment/bin/python" -m pip install --quiet --constraint constraints.txt)
case $what in
  worker)
    "${install[@]}" --requirement deploy/worker.txt
    "${install[@]}" --no-deps "$wheel"
    ;;
  all) # PyTorch without CUDA; for GPUs set TORCH_INDEX to its index for yours
    "${install[@]}" --extra-index-url "${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" \
      "${wheel}[store]"
    ;;
  *) echo "$what: say worker or all" >&2 && exit 2 ;;
esac
options=(--quiet --force --prefix "$folder/environment" --output "$archive")
if [ "$how" = conda ]; then # which does not know that pip has replaced packages of its own
  options+=(--ignore-missing-files)
fi
"$folder/tools/bin/$how-pack" "${options[@]}"
ls -l "$archive"
