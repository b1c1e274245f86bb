"""What a user asks for, checked: a query and its condition, samples in memory.

Letters: C channels, T samples, D embedding size.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from cache_store.errors import AudioError, UsageError
from trainer.conditioning.negative import negated

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trainer.models import SeparatorModel
    from trainer.queries import TextQueries
    from trainer.run import RunRecord


def condition_for(
    queries: TextQueries,
    record: RunRecord,
    model: SeparatorModel,
    query: str | None,
    condition: ArrayLike | None,
    negative: str | None,
) -> torch.Tensor:
    """The condition of a query or a vector; `Separator.condition` says the rest.

    Args:
        queries: From text to condition.
        record: The run.
        model: Its separator.
        query: What to take out, or None.
        condition: An embedding, or None.
        negative: What to leave in, or None.

    Shape:
        condition: `[D]`. Output: float32 `[D]`, unit norm, or `[2 D]`.
    """
    if (query is None) == (condition is None):
        raise UsageError("give a query or a condition, one of them")
    wanted = _embedded(queries, query) if query is not None else _vector(record, condition)
    if negative is None:
        return wanted
    unwanted = _embedded(queries, negative)
    return negated(wanted, unwanted, record.negative, takes_negative=model.takes_negative)


def check_waveform(waveform: ArrayLike, sample_rate: int) -> NDArray[np.float32]:
    """The waveform as float32, if it is one. Shape: `[T]` or `[C, T]` to the same.

    Raises:
        AudioError: There are no samples, or some that are not finite.
        UsageError: Not floats, of another shape, or at no positive sample rate (in Hz).
    """
    samples = np.asarray(waveform)
    if samples.ndim not in (1, 2) or samples.dtype.kind != "f" or sample_rate <= 0:
        raise UsageError(
            "cannot separate this waveform",
            expected="floats [T] or [C, T] at a positive sample rate",
            found=f"{samples.dtype} {list(samples.shape)} at {sample_rate} Hz",
        )
    if not samples.size:
        raise AudioError("there are no samples to separate")
    if not np.isfinite(samples).all():
        raise AudioError("there are samples that are not finite (NaN or infinite)")
    return samples.astype(np.float32, copy=False)


def _embedded(queries: TextQueries, text: str) -> torch.Tensor:
    if not text.strip():
        raise UsageError("the query is empty", expected='text, such as "a dog barks"')
    return torch.from_numpy(queries.embed([text])[0])


def _vector(record: RunRecord, condition: ArrayLike | None) -> torch.Tensor:
    vector = np.asarray(condition, dtype=np.float32)
    if vector.shape != (record.space.dim,) or not np.isfinite(vector).all():
        raise UsageError(
            "not a condition for this run",
            expected=f"{record.space.dim} finite values",
            found=list(vector.shape),
        )
    return torch.from_numpy(vector / max(float(np.linalg.norm(vector)), 1e-12))
