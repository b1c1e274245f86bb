"""What every embedding space can do, and the few lines that all of them share.

An embedding space is one CLAP model: a text tower and an audio tower whose vectors can be compared
by their inner product. Two spaces are the same exactly when their fingerprints are: a hash of the
weights and of the preprocessing, never of a name.

Letters: n texts or clips, C channels, T samples, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from cache_store.errors import UsageError

if TYPE_CHECKING:
    from cache_store.manifest import SpaceRecord

SMALLEST_NORM = 1e-12
SLICE_ROWS = 2048  # texts handed at once to a space that does not stream them itself


@runtime_checkable
class Space(Protocol):
    """An embedding space.

    Attributes:
        name: What to call it to a user.
        dim: D, the size of its embeddings.
        sample_rate: What its audio tower hears, in Hz; 0 where it has none.
        fingerprint: A hash of weights and preprocessing.
        text_limit: Tokens that its text tower reads, special tokens included; None for no limit.
        precision: In which its text tower computes: `float32` or `bfloat16`; ""
            where embeddings are only looked up.
    """

    name: str
    dim: int
    sample_rate: int
    fingerprint: str
    text_limit: int | None
    precision: str

    @property
    def record(self) -> SpaceRecord:
        """What a cache remembers of the space."""
        ...

    def embed_text(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed texts, in their order.

        Returns:
            float32, unit norm. Shape: `[n, D]`.
        """
        ...

    def embed_audio(
        self, waveforms: Sequence[NDArray[np.floating]], sample_rate: int
    ) -> NDArray[np.float32]:
        """Embed recordings of any length, in their order.

        Args:
            waveforms: Floating-point samples, each `[T]` or `[C, T]`.
            sample_rate: Of all of them, in Hz.

        Returns:
            float32, unit norm. Shape: `[n, D]`.

        Raises:
            AudioError: A recording is empty or has samples that are not finite.
        """
        ...

    def count_tokens(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Tokens of each text before any cut, special tokens included. Shape: `[n]`."""
        ...

    def too_long(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Whether the model would cut each text at `text_limit`. Shape: `[n]`."""
        ...


class Embedded(NamedTuple):
    """Some of the texts of a stream, embedded.

    Attributes:
        rows: Which texts these are. Shape: `[n]`.
        vectors: float32, unit norm. Shape: `[n, D]`.
        cut: Whether the model cut each. Shape: `[n]`.
    """

    rows: NDArray[np.int64]
    vectors: NDArray[np.float32]
    cut: NDArray[np.bool_]


@runtime_checkable
class TextStreamer(Protocol):
    """A space that embeds many texts better than a slice at a time."""

    def stream_text(self, texts: Sequence[str]) -> Iterator[Embedded]:
        """Embed texts; each comes once, in whatever order."""
        ...


def stream_text(space: Space, texts: Sequence[str]) -> Iterator[Embedded]:
    """Embed many texts, batch by batch: each text once, in the order that suits the space.

    What comes depends on the texts and the space alone, so equal calls give equal bits.
    """
    if isinstance(space, TextStreamer):
        yield from space.stream_text(texts)
        return
    for begin in range(0, len(texts), SLICE_ROWS):
        part = texts[begin : begin + SLICE_ROWS]
        cut = np.zeros(len(part), np.bool_)
        if space.text_limit is not None:
            cut = space.too_long(part)
        yield Embedded(np.arange(begin, begin + len(part)), space.embed_text(part), cut)


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Scale each row to norm 1, in float64 inside. Shape: `[n, D]` to `[n, D]`, float32."""
    exact = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(exact, axis=1, keepdims=True)
    return (exact / np.maximum(norms, SMALLEST_NORM)).astype(np.float32)


def pick_device(device: str) -> str:
    """The torch device for `device`: `auto` is a CUDA GPU where there is one, else the CPU.

    Raises:
        UsageError: Not a torch device, or one that this machine does not have.
    """
    import torch

    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        # Placing a number is the only check that every kind of device has in common.
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UsageError(
            "this device cannot be used here",
            where=device,
            expected="auto, cpu, cuda or cuda:N",
            hint="Run `lqtse-cache doctor` to see which devices were found",
        ) from error
    return device
