"""The parts of vLLM's own interface that we use, and that move between its versions.

Written against vLLM 0.10 to 0.32. What changed in between is told apart by what is there, never by
a version's number: builds for other devices count differently. Nothing is imported before it is
used: `import vllm` takes seconds and looks for GPUs.
"""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from typing import Any

from cache_store.errors import MissingDependencyError
from prompts.request import Request

LONGEST = (
    4096  # tokens of a prompt and its answer, unless the user says more; ours have about 1,000
)

# Set before the import, and only where the user did not: nothing is reported to anyone, and its
# log does not run through our panel. It starts processes from a thread of ours, so never by a fork.
_ENVIRONMENT = {
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
}


@dataclass(frozen=True)
class EngineSettings:
    """What an engine is started with.

    Attributes:
        model: A folder, or a name on Hugging Face's hub.
        max_model_len: Tokens a prompt and its answer may have; by default the model's own limit,
            4,096 at most, since every token more costs memory.
        gpu_memory: Share of a GPU's memory that it may take; by default vLLM's.
        tensor_parallel: GPUs to split the model over; by default one.
    """

    model: str
    max_model_len: int | None = None
    gpu_memory: float | None = None
    tensor_parallel: int | None = None


def load() -> Any:
    """Import vLLM.

    Raises:
        MissingDependencyError: If it is not installed.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    try:
        import vllm
    except ImportError as error:
        raise MissingDependencyError(
            "--backend vllm needs the package vllm",
            found=error,
            hint="Install it, best in an environment of its own: pip install 'lqtse[vllm]', or "
            "start its server elsewhere, `vllm serve MODEL`, and use --backend openai "
            "--base-url http://HOST:8000/v1",
        ) from error
    return vllm


def start(settings: EngineSettings) -> Any:
    """Start an engine, which takes from seconds to minutes; every error of vLLM's passes.

    Raises:
        MissingDependencyError: If vLLM is not installed.
    """
    vllm = load()
    from vllm.platforms import current_platform

    given = {
        "max_model_len": settings.max_model_len,
        "gpu_memory_utilization": settings.gpu_memory,
        "tensor_parallel_size": settings.tensor_parallel,
        # Compiling for a CPU needs a compiler and minutes, and gains little.
        "enforce_eager": True if current_platform.is_cpu() else None,
    }
    arguments = vllm.AsyncEngineArgs(
        model=settings.model,
        enable_prefix_caching=True,
        disable_log_stats=True,
        **{name: value for name, value in given.items() if value is not None},
    )
    if settings.max_model_len is None:
        own = arguments.create_model_config().max_model_len
        arguments.max_model_len = min(own, LONGEST)
    return vllm.AsyncLLMEngine.from_engine_args(arguments)


def stop(engine: Any, patience: float) -> None:
    """End an engine; newer ones give their processes `patience` seconds to tidy up."""
    if "timeout" in inspect.signature(engine.shutdown).parameters:
        engine.shutdown(timeout=patience)
    else:
        engine.shutdown()
    # It ends itself once more when it is collected: at the end of the interpreter, too late to.
    engine.shutdown = _nothing


def _nothing() -> None:
    pass


async def tokenizer(engine: Any) -> Any:
    """The tokenizer of an engine's model; asking for it was asynchronous once."""
    found = engine.get_tokenizer()
    return await found if inspect.isawaitable(found) else found


def prompt(tokens: list[int]) -> Any:
    """A prompt that was read into tokens, in the form that an engine takes."""
    from vllm import inputs

    if hasattr(inputs, "tokens_input"):
        return inputs.tokens_input(tokens)
    return {"prompt_token_ids": tokens}


def sampling(request: Request) -> Any:
    """How a request is sampled: all that `request` says, and nothing that it does not.

    Several captions of a completion are several continuations of one prompt, each with its share
    of the tokens and a seed of its own (vLLM counts them up from the request's).
    """
    import vllm
    from vllm import sampling_params

    # Without chance all continuations would be the same, and vLLM refuses several.
    many = 1 if request.is_chat or request.temperature == 0 else request.count
    held = {}
    if request.is_chat and request.schema is not None:
        if hasattr(sampling_params, "StructuredOutputsParams"):
            structure = sampling_params.StructuredOutputsParams(json=request.schema)
            held = {"structured_outputs": structure}
        else:  # before 0.11
            held = {"guided_decoding": sampling_params.GuidedDecodingParams(json=request.schema)}
    return vllm.SamplingParams(
        n=many,
        seed=request.seed,
        temperature=request.temperature,
        top_p=request.top_p,
        max_tokens=max(1, request.max_tokens // many),
        stop=list(request.stop) or None,
        output_kind=sampling_params.RequestOutputKind.FINAL_ONLY,
        **held,
    )


def refuses(error: BaseException) -> bool:
    """Whether vLLM says by this error that it will never take the request as it is."""
    import vllm

    if isinstance(error, ValueError):
        return True
    kind = getattr(getattr(vllm, "exceptions", None), "VLLMClientError", None)
    return kind is not None and isinstance(error, kind)


def is_dead(engine: Any) -> bool:
    """Whether an engine has ended, so that no further request can be answered."""
    return bool(getattr(engine, "errored", False))
