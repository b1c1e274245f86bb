"""From the names on the command line to a backend, with its defaults."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from cache_store.errors import ConfigError, UsageError
from pipeline.llm.base import Model, PromptStyle
from pipeline.llm.source import OpenSource

BACKENDS = ("openai", "openai-batch", "vllm", "local", "grammar", "scripted")

URL_VARIABLE = "OPENAI_BASE_URL"
SERVER_CONCURRENCY = 8
SCRIPTED_CONCURRENCY = 8

_ELSEWHERE = {
    "vllm": "Start vLLM's server, `vllm serve MODEL`, and use it: --backend openai --model MODEL "
    "--base-url http://127.0.0.1:8000/v1",
    "openai-batch": "Use --backend openai",
}


@dataclass(frozen=True)
class Chosen:
    """A backend, how many requests to keep in flight, and who asks it.

    Attributes:
        backend: The model; a `Backend` unless `source` is given.
        concurrency: Requests in flight at most.
        source: Who brings its answers; None asks request by request.
    """

    backend: Model
    concurrency: int
    source: OpenSource | None = None


def open_backend(
    name: str,
    *,
    model: str | None = None,
    base_urls: Sequence[str] = (),
    style: PromptStyle | None = None,
    concurrency: int | None = None,
    timeout: float | None = None,
    workers: int | None = None,
    script: Sequence[str] = (),
) -> Chosen:
    """Make the backend of this name.

    Args:
        name: One of `BACKENDS`.
        model: For openai the model's name, for local a GGUF file.
        base_urls: For openai, the servers; by default OPENAI_BASE_URL, else OpenAI itself.
        style: Which form of request the model reads; by default what suits the backend.
        concurrency: Requests in flight; for local, copies of the model that work side by side.
        timeout: For openai, seconds for one answer.
        workers: For openai, processes that send; None sends from this one.
        script: For scripted, how it behaves.

    Raises:
        UsageError: If the backend does not exist or lacks something.
        ConfigError: For settings that this backend does not have.
        AuthenticationError: If a server needs a key and there is none.
    """
    if name in _ELSEWHERE:
        raise UsageError(f"--backend {name} is not built in", hint=_ELSEWHERE[name])
    if name not in BACKENDS:
        raise UsageError("unknown backend", expected=", ".join(BACKENDS), found=name)
    _refuse(
        name,
        {
            "--model": (model, ("openai", "local")),
            "--base-url": (base_urls or None, ("openai",)),
            "--timeout": (timeout, ("openai",)),
            "--workers": (workers, ("openai",)),
            "--script": (script or None, ("scripted",)),
        },
    )
    if name == "openai":
        return _openai(model, base_urls, style, concurrency, timeout, workers)
    if name == "local":
        return _local(model, style, concurrency)
    if name == "grammar":
        from pipeline.llm.grammar import GrammarBackend

        return Chosen(GrammarBackend(), concurrency or 1)
    from pipeline.llm.scripted import ScriptedBackend

    scripted = ScriptedBackend(script or ("good",), style=style or "chat")
    return Chosen(scripted, concurrency or SCRIPTED_CONCURRENCY)


def _refuse(name: str, given: dict[str, tuple[object, tuple[str, ...]]]) -> None:
    """Settings without an effect are mistakes, and are told all together."""
    faults = [
        f"{flag} works with --backend {' or '.join(backends)}, not with {name}"
        for flag, (value, backends) in given.items()
        if value is not None and name not in backends
    ]
    if faults:
        raise ConfigError(faults)


def _openai(
    model: str | None,
    base_urls: Sequence[str],
    style: PromptStyle | None,
    concurrency: int | None,
    timeout: float | None,
    workers: int | None,
) -> Chosen:
    from pipeline.llm.fleet import FleetBackend
    from pipeline.llm.openai_server import DEFAULT_URL
    from pipeline.llm.servers import Settings, open_servers

    if not model:
        raise UsageError(
            "--backend openai needs a model", hint="Name one as the server knows it: --model NAME"
        )
    urls = tuple(base_urls) or (os.environ.get(URL_VARIABLE) or DEFAULT_URL,)
    settings = Settings(model, urls, style or "chat", timeout)
    backend = FleetBackend(settings, workers) if workers else open_servers(settings)
    return Chosen(backend, concurrency or SERVER_CONCURRENCY)


def _local(model: str | None, style: PromptStyle | None, engines: int | None) -> Chosen:
    from pipeline.llm.local import LocalBackend
    from pipeline.llm.weights import find_weights

    backend = LocalBackend.load(find_weights(model), engines=engines, style=style or "completion")
    return Chosen(backend, backend.concurrency)
