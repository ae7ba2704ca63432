#!/bin/sh
# Install the locked packages, hashes checked, and then this package, editable, into the environment of $PYTHON.
# `install.sh cpu` takes PyTorch's CPU builds instead of those from PyPI: on Linux 1 GB instead of 6.
set -eu
cd "$(dirname "$0")/.."
pip="${PYTHON:-python} -m pip --disable-pip-version-check --quiet"
lock=requirements.lock
if [ "${1:-}" = cpu ]; then
    lock=requirements-cpu.lock
    pins=$(sed -nE 's/^((torch|torchvision)==[0-9.]+).*/\1/p' requirements.lock)
    # shellcheck disable=SC2086 # two requirements
    $pip install --no-deps --index-url "${TORCH_INDEX:-https://download.pytorch.org/whl/cpu}" $pins
fi
$pip install --no-deps --require-hashes --requirement "$lock"
# another TORCH_INDEX may give PyPI's CUDA build, whose libraries requirements-cpu.lock does not install
if [ "${1:-}" = cpu ] && ! ${PYTHON:-python} -c "import torch" >/dev/null 2>&1; then
    echo "PyTorch was installed but cannot be imported: set TORCH_INDEX to an index with its CPU builds only." >&2
    exit 1
fi
$pip install --no-deps --no-build-isolation --editable .
