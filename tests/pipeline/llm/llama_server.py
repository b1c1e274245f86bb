"""A real llama.cpp server on loopback, in a process of its own: `with llama_server() as url: ...`.

The server is xllamacpp's, with the small model of `make models` and one slot. Run as a module it
prints its address and serves until its standard input is closed, so it never outlives a test.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONTEXT = 2048  # tokens of a prompt and its answer
ROOT = Path(__file__).parents[3]


@contextmanager
def llama_server(weights: Path | None = None) -> Iterator[str]:
    """Start a server; yields its base URL ("http://127.0.0.1:PORT/v1").

    Args:
        weights: A GGUF file; the small one of `make models` by default.
    """
    words = [sys.executable, "-m", "tests.pipeline.llm.llama_server"]
    process = subprocess.Popen(
        [*words, *([str(weights)] if weights else [])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    assert process.stdin is not None and process.stdout is not None
    try:
        address = process.stdout.readline().strip()
        assert address.startswith("http"), "the server did not start"
        yield f"{address}/v1"
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(timeout=60)


def serve(weights: Path) -> None:
    """Serve until standard input is closed."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = str(weights)
    settings.n_ctx = CONTEXT
    settings.n_parallel = 1
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 1
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.cache_ram_mib = 0
    settings.warmup = False
    settings.ui = False
    settings.offline = True
    settings.verbosity = -1
    server = xllamacpp.Server(settings)
    sys.stdout.write(f"{server.listening_address}\n")
    sys.stdout.flush()
    sys.stdin.read()


if __name__ == "__main__":
    from pipeline.llm.weights import find_weights

    serve(find_weights(sys.argv[1] if len(sys.argv) > 1 else None))
