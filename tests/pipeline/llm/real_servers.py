"""Real servers of a small real model, each in a process of its own, on this machine only.

As scripts they are what `make test-local` and `make test-vllm` start:

    python -m tests.pipeline.llm.real_servers llama      prints its address, and serves till it ends
    python -m tests.pipeline.llm.real_servers folder DIR  the small model as a folder, for vLLM
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.llm.weights import find_weights

MODEL = "smollm2"  # what both servers call it
STARTING = 600.0  # seconds: importing vLLM alone can take a minute on a busy machine
SLOTS = 4  # sequences that llama.cpp's server works on side by side
MEMORY = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1"}  # GiB for keys and values


def make_folder(folder: Path) -> Path:
    """Write the small model as Hugging Face's libraries do, unless that was done."""
    if (folder / "config.json").is_file():
        return folder
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    weights = find_weights()
    tokenizer = AutoTokenizer.from_pretrained(weights.parent, gguf_file=weights.name)
    read = AutoModelForCausalLM.from_pretrained(weights.parent, gguf_file=weights.name)
    # As read, it calls itself quantised, and is not: its weights are float32 by now.
    settings = {
        name: value
        for name, value in read.config.to_dict().items()
        if name != "quantization_config"
    }
    model = AutoModelForCausalLM.from_config(type(read.config).from_dict(settings))
    model.load_state_dict(read.state_dict())
    part = folder.with_name(folder.name + ".part")
    model.to(torch.bfloat16).save_pretrained(part)
    tokenizer.save_pretrained(part)
    part.rename(folder)
    return folder


@contextmanager
def llama_server() -> Iterator[str]:
    """llama.cpp's server; yields its base URL."""
    command = [sys.executable, "-m", "tests.pipeline.llm.real_servers", "llama"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            address = process.stdout.readline().strip()
            assert address.startswith("http://127.0.0.1:"), "llama.cpp's server did not start"
            yield f"{address}/v1"
        finally:
            process.kill()


@contextmanager
def vllm_server(folder: Path) -> Iterator[str]:
    """vLLM's server; yields its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += ["--model", str(folder), "--served-model-name", MODEL, "--host", "127.0.0.1"]
    command += ["--port", str(port), "--max-model-len", "2048", "--enforce-eager"]
    quiet = {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_LOGGING_LEVEL": "ERROR"}
    with subprocess.Popen(command, env={**os.environ, **MEMORY, **quiet}) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/health", process)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + STARTING
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while time.monotonic() < end and process.poll() is None:
        try:
            opener.open(url, timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError("the server did not start")


def serve_llama() -> None:
    """Serve the small model until this process ends."""
    import threading

    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(find_weights())
    settings.model_alias = {MODEL}
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.n_parallel = SLOTS
    settings.n_ctx = 1024 * SLOTS
    # One thread: more spin for each other on a busy machine.
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.offline, settings.warmup, settings.ui, settings.verbosity = True, False, False, -1
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    if sys.argv[1] == "llama":
        serve_llama()
    else:
        make_folder(Path(sys.argv[2]))
