"""Who would answer, told without making a backend: nothing is loaded, no key is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from cache_store.errors import UsageError
from pipeline.llm.base import PromptStyle

_NO_LLM = ("grammar", "scripted")


@dataclass(frozen=True)
class Identity:
    """A model as a cache would know it.

    Attributes:
        backend: The name of the backend.
        model: What captions and request ids are recorded under.
        style: Which form of request it reads.
        weights: The GGUF file or the folder of the model, None where it is not on this machine.
    """

    backend: str
    model: str
    style: PromptStyle
    weights: Path | None = None

    @property
    def uses_llm(self) -> bool:
        """False when no language model is involved."""
        return self.backend not in _NO_LLM

    @property
    def concurrency(self) -> int:
        """Requests that are in flight, or engines that work, unless the user says otherwise."""
        from pipeline.llm import select

        if self.backend == "local":
            from pipeline.llm.local import usable_cores

            return usable_cores()
        return select.SERVER_CONCURRENCY if self.uses_llm else 1

    @property
    def counts_tokens(self) -> bool:
        """Whether answers say how many tokens they took: a grammar has none."""
        return self.backend != "grammar"

    def reads_again(self, count: int) -> int:
        """How often the prompt of a list is read for `count` continuations of it.

        A server reads it once (`n`); the engines on this machine are asked for one at a time.
        """
        return count if self.backend == "local" else 1


def identify(backend: str, model: str | None = None, style: PromptStyle | None = None) -> Identity:
    """Tell who a backend's model is.

    Args:
        backend: One of `select.BACKENDS`.
        model: As for `select.open_backend`.
        style: As for `select.open_backend`.

    Raises:
        UsageError: If no model is named where one must be, or it is not there.
        MissingDependencyError: If the small model is wanted and not installed.
    """
    if backend in _NO_LLM:
        return Identity(backend, backend, style or "chat" if backend == "scripted" else "chat")
    if backend == "local":
        from pipeline.llm.weights import find_weights, model_name

        weights = find_weights(model)
        return Identity(backend, model_name(weights), style or "completion", weights)
    if not model:
        raise UsageError(
            f"--backend {backend} needs a model",
            hint="Name one as the server knows it: --model NAME",
        )
    folder = Path(model) if backend == "vllm" and Path(model).is_dir() else None
    return Identity(backend, model, style or "chat", folder)
