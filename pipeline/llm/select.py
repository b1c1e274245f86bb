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


@dataclass(frozen=True)
class Batching:
    """What a user said of batches; None where nothing was said.

    Attributes:
        requests: Requests a batch, at most.
        poll: Longest time between two looks at the batches, in seconds.
        no_wait: Whether only to submit, and to collect what has ended.
        keep_files: Whether to leave files at the server.
    """

    requests: int | None = None
    poll: float | None = None
    no_wait: bool = False
    keep_files: bool = False


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
    batching: Batching = Batching(),
    max_model_len: int | None = None,
    gpu_memory: float | None = None,
    tensor_parallel: int | None = None,
) -> Chosen:
    """Make the backend of this name.

    Args:
        name: One of `BACKENDS`.
        model: For openai the model's name, for local a GGUF file, for vllm a folder or a name on
            Hugging Face's hub.
        base_urls: For openai, the servers; by default OPENAI_BASE_URL, else OpenAI itself.
        style: Which form of request the model reads; by default what suits the backend.
        concurrency: Requests in flight; for local, copies of the model that work side by side.
        timeout: For openai, seconds for one answer.
        workers: For openai, processes that send; None sends from this one.
        script: For scripted, how it behaves.
        batching: For openai-batch, how batches are made.
        max_model_len: For vllm, tokens a prompt and its answer may have.
        gpu_memory: For vllm, the share of a GPU's memory that it may take.
        tensor_parallel: For vllm, GPUs to split the model over.

    Raises:
        UsageError: If the backend does not exist or lacks something.
        ConfigError: For settings that this backend does not have.
        AuthenticationError: If a server needs a key and there is none.
    """
    if name not in BACKENDS:
        raise UsageError("unknown backend", expected=", ".join(BACKENDS), found=name)
    _refuse(
        name,
        {
            "--model": (model, ("openai", "openai-batch", "local", "vllm")),
            "--base-url": (base_urls or None, ("openai", "openai-batch")),
            "--timeout": (timeout, ("openai",)),
            "--workers": (workers, ("openai",)),
            "--script": (script or None, ("scripted",)),
            "--batch-requests": (batching.requests, ("openai-batch",)),
            "--poll": (batching.poll, ("openai-batch",)),
            "--no-wait": (batching.no_wait or None, ("openai-batch",)),
            "--keep-files": (batching.keep_files or None, ("openai-batch",)),
            "--max-model-len": (max_model_len, ("vllm",)),
            "--gpu-memory": (gpu_memory, ("vllm",)),
            "--tensor-parallel": (tensor_parallel, ("vllm",)),
        },
    )
    if name == "openai":
        return _openai(model, base_urls, style, concurrency, timeout, workers)
    if name == "openai-batch":
        return _openai_batch(model, base_urls, style, concurrency, batching)
    if name == "local":
        return _local(model, style, concurrency)
    if name == "vllm":
        if not model:
            raise UsageError(
                "--backend vllm needs a model",
                hint="Give a folder with weights, or a name on Hugging Face: --model MODEL",
            )
        return _vllm(model, max_model_len, gpu_memory, tensor_parallel, style, concurrency)
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
    from pipeline.llm.openai_server import DEFAULT_URL
    from pipeline.llm.servers import Settings, open_servers
    from pipeline.llm.stripes.model import StripedModel

    if not model:
        raise UsageError(
            "--backend openai needs a model", hint="Name one as the server knows it: --model NAME"
        )
    urls = tuple(base_urls) or (os.environ.get(URL_VARIABLE) or DEFAULT_URL,)
    settings = Settings(model, urls, style or "chat", timeout)
    backend = StripedModel(settings, workers) if workers else open_servers(settings)
    return Chosen(backend, concurrency or SERVER_CONCURRENCY)


def _openai_batch(
    model: str | None,
    base_urls: Sequence[str],
    style: PromptStyle | None,
    batches: int | None,
    batching: Batching,
) -> Chosen:
    from pipeline.llm.batch.model import BATCH_REQUESTS, BATCHES, POLL, BatchModel, BatchOptions
    from pipeline.llm.batch.remote import BatchServer
    from pipeline.llm.openai_server import DEFAULT_URL, KEY_VARIABLE

    if not model:
        raise UsageError(
            "--backend openai-batch needs a model",
            hint="Name one as the server knows it: --model NAME",
        )
    if len(base_urls) > 1:
        raise UsageError(
            "--backend openai-batch works with one server", found=f"{len(base_urls)} --base-url"
        )
    options = BatchOptions(
        requests=batching.requests or BATCH_REQUESTS,
        batches=batches or BATCHES,
        poll=batching.poll or POLL,
        wait=not batching.no_wait,
        keep_files=batching.keep_files,
    )
    url = next(iter(base_urls), None) or os.environ.get(URL_VARIABLE) or DEFAULT_URL
    server = BatchServer(url, api_key=os.environ.get(KEY_VARIABLE))
    backend = BatchModel(model, server, style=style or "chat")
    return Chosen(backend, options.batches, backend.source(options))


def _local(model: str | None, style: PromptStyle | None, engines: int | None) -> Chosen:
    from pipeline.llm.local import LocalBackend
    from pipeline.llm.weights import find_weights

    backend = LocalBackend.load(find_weights(model), engines=engines, style=style or "completion")
    return Chosen(backend, backend.concurrency)


def _vllm(
    model: str,
    max_model_len: int | None,
    gpu_memory: float | None,
    tensor_parallel: int | None,
    style: PromptStyle | None,
    concurrency: int | None,
) -> Chosen:
    from pipeline.llm.vllm_api import EngineSettings
    from pipeline.llm.vllm_engine import CONCURRENCY, VllmBackend

    settings = EngineSettings(model, max_model_len, gpu_memory, tensor_parallel)
    return Chosen(VllmBackend(settings, style=style), concurrency or CONCURRENCY)
