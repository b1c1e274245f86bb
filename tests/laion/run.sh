#!/usr/bin/env bash
# Compares our embedding spaces with the laion-clap package itself.
#
# The package needs numpy<2 and imports torchvision, so it lives in an environment of its own.
# Variables: PYTHON (python3), LAION_VENV (.venv-laion). Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."

python="${PYTHON:-python3}"
venv="${LAION_VENV:-.venv-laion}"
stamp="$venv/.done"

if [ ! -f "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ tests/laion/run.sh -nt "$stamp" ]; then
  echo "== setting up $venv with laion-clap (a few minutes, once)"
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  # The CPU build of torch everywhere: random weights need no GPU. torchvision stays out: its
  # CUDA build would not match, and the tests put an empty module in its place. Later versions of
  # pyarrow want numpy 2 without saying so to pip.
  "$venv/bin/python" -m pip --disable-pip-version-check install --quiet \
    -c constraints-cpu.txt -e '.[laion,dev]' 'numpy<2' 'pyarrow<22'
  touch "$stamp"
fi

echo "== comparing with laion-clap"
exec "$venv/bin/python" -m pytest -m laion --timeout 1800 tests/laion "$@"
