"""Take the sound that a text asks for out of a recording.

    from trainer import Separator
    separator = Separator.load("run")
    estimate = separator.separate(waveform, sample_rate, query="a dog barks")
    for part in separator.stream(blocks, sample_rate, query="a dog barks"): ...

Any sample rate, any length, any number of channels: the estimate has the recording's own. Several
channels get one mask (`trainer.shared_mask`). Above half the separator's own sample rate the
estimate is silent.

Letters: Q queries, C channels, T samples, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from cache_store.errors import UsageError
from trainer.asking import check_waveform, condition_for
from trainer.calibration import Calibration, calibration_of
from trainer.chunks import CHUNK_SECONDS
from trainer.judging import Judge
from trainer.live import LiveSeparation, stream_through
from trainer.precision import set_precision
from trainer.queries import TextQueries
from trainer.run import RunFolder, RunRecord, load_model
from trainer.separate_file import FileSettings, Separated, Wanted, separate_recording
from trainer.streaming import separate_stream

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trainer.models import SeparatorModel

__all__ = ["Separated", "Separator"]


class Separator:
    """A trained separator and the space that its queries live in; made by `Separator.load`.

    Attributes:
        model: In evaluation mode.
        record, queries: What was trained, and from text to condition.
        judge: Says how likely it is that what was asked for is there.
    """

    def __init__(
        self,
        model: SeparatorModel,
        record: RunRecord,
        queries: TextQueries,
        calibration: Calibration | None = None,
    ) -> None:
        self.model = model
        self.record = record
        self.queries = queries
        self.judge = Judge(record, queries, calibration)

    @classmethod
    def load(
        cls,
        run: str | Path,
        *,
        checkpoint: str = "best",
        space: str = "",
        space_name: str = "",
        device: str = "auto",
        precision: str = "no",
    ) -> Separator:
        """Load a run.

        Args:
            run: Its folder.
            checkpoint: `best` or `last`.
            space: A model or table for the queries; "" for the run's own.
            space_name: Where a table's embeddings came from, if its file does not say.
            device: `auto`, `cpu`, `cuda`, `cuda:N`.
            precision: `no` for float32, or `bf16`; see `trainer.precision`.

        Raises:
            UsageError: There is no such precision.
            DataError: No run, or a checkpoint or calibration that is missing, damaged or not ours.
            SpaceMismatchError: `space` is not the one that the run was trained in.
        """
        from cache_store.spaces.base import pick_device

        folder = RunFolder(Path(run))
        model, record = load_model(folder, checkpoint, space=space)
        set_precision(model, precision)
        queries = TextQueries(
            record.space,
            spec=space or record.space_spec,
            space_name=space_name,
            cache=record.cache["path"],
            device=device,
        )
        calibration = calibration_of(folder, checkpoint, record.space.fingerprint)
        return cls(model.to(pick_device(device)), record, queries, calibration)

    def separate(
        self,
        waveform: ArrayLike,
        sample_rate: int,
        *,
        query: str | None = None,
        negative: str | None = None,
        condition: ArrayLike | None = None,
        chunk_seconds: float = CHUNK_SECONDS,
        shared: bool = True,
    ) -> NDArray[np.float32]:
        """Separate samples in memory.

        Args:
            waveform: Floating-point samples.
            sample_rate: In Hz.
            query: What to take out; or give `condition`.
            negative: What to leave in, beside a query.
            condition: An embedding of the run's space in place of a query.
            chunk_seconds: Length of the pieces it works on, if it does.
            shared: Whether several channels get one mask; else each is separated by itself.

        Shape:
            - waveform: `[T]` or `[C, T]`
            - condition: `[D]`
            - returns: as `waveform`

        Raises:
            AudioError: There are no samples, or some that are not finite.
            UsageError: Neither or both of query and condition, or a waveform of another shape.
            DataError: The query's embedding is not known.
        """
        wanted = self.condition(query, condition, negative=negative)
        return self._in_memory(waveform, sample_rate, wanted[None], chunk_seconds, shared)[0]

    def separate_many(
        self,
        waveform: ArrayLike,
        sample_rate: int,
        *,
        queries: Sequence[str],
        negative: str | None = None,
        chunk_seconds: float = CHUNK_SECONDS,
        shared: bool = True,
    ) -> NDArray[np.float32]:
        """The same for several queries, in one pass over the waveform.

        Shape:
            - waveform: `[T]` or `[C, T]`
            - returns: `[Q, T]` or `[Q, C, T]`, in the order of `queries`

        Raises:
            AudioError, UsageError, DataError: As `separate`; and there has to be a query.
        """
        if not queries:
            raise UsageError("there is nothing to ask for", expected="at least one query")
        wanted = torch.stack([self.condition(query, negative=negative) for query in queries])
        return self._in_memory(waveform, sample_rate, wanted, chunk_seconds, shared)

    def separate_file(
        self,
        source: str | Path,
        output: str | Path,
        *,
        query: str,
        negative: str | None = None,
        residual: str | Path | None = None,
        subtype: str | None = None,
        chunk_seconds: float = CHUNK_SECONDS,
        shared: bool = True,
    ) -> Separated:
        """Separate an audio file into another, block by block, in memory that does not grow.

        Args:
            source: The recording; `-` for standard input.
            output: The estimate, in the format of its suffix. `-` for standard output, as WAV.
            query, negative, chunk_seconds, shared: As in `separate`.
            residual: Where to write the recording without it, if wanted.
            subtype: `float`, `pcm16` or `pcm24`; by default float, or the best the format has.

        Raises:
            AudioError: The recording is missing, unreadable, empty, or not finite.
            UsageError: The output is not a file that can be written so.
            StorageError: The place of the output cannot be written.
            DataError: The query's embedding is not known.
        """
        rest = Path(residual) if residual is not None else None
        settings = FileSettings(negative, subtype, chunk_seconds, shared)
        wanted = [Wanted(query, Path(output), rest)]
        return separate_recording(self, Path(source), wanted, settings)[0]

    def live(
        self,
        sample_rate: int,
        channels: int = 1,
        *,
        query: str | None = None,
        negative: str | None = None,
        condition: ArrayLike | None = None,
        chunk_seconds: float = CHUNK_SECONDS,
        shared: bool = True,
    ) -> LiveSeparation:
        """Separate a recording that is still going on: `push` blocks, then `finish`.

        Each chunk is normalised by the level up to its end: in the beginning, estimates can differ
        a little from those of `separate`.

        Args:
            sample_rate: In Hz.
            channels: C.
            query, negative, condition, shared: As in `separate`.
            chunk_seconds: The delay, about (`LiveSeparation.latency_seconds`); a short one costs
                time. `resunet` on a CPU needs no chunks.

        Raises:
            UsageError: Neither or both of query and condition, or rates and channels below 1.
            DataError: The query's embedding is not known.
        """
        wanted = self.condition(query, condition, negative=negative)
        return LiveSeparation(self.model, wanted, sample_rate, channels, chunk_seconds, shared)

    def stream(
        self,
        blocks: Iterable[ArrayLike],
        sample_rate: int,
        *,
        query: str | None = None,
        negative: str | None = None,
        condition: ArrayLike | None = None,
        chunk_seconds: float = CHUNK_SECONDS,
        shared: bool = True,
    ) -> Iterator[NDArray[np.float32]]:
        """The same over an iterable of blocks; as many samples come out as go in.

        Shape:
            - blocks: `[T]` or `[C, T]`, all of one C; T may differ
            - yields: as the blocks, of other lengths

        Raises:
            AudioError, UsageError, DataError: As `live` and `LiveSeparation.push`.
        """
        begin = partial(
            self.live,
            sample_rate,
            query=query,
            negative=negative,
            condition=condition,
            chunk_seconds=chunk_seconds,
            shared=shared,
        )
        return stream_through(begin, blocks)

    def condition(
        self,
        query: str | None = None,
        condition: ArrayLike | None = None,
        *,
        negative: str | None = None,
    ) -> torch.Tensor:
        """The condition for a query, and for a negative one if there is one.

        Args:
            query: What to take out; or give `condition`.
            condition: An embedding of the run's space.
            negative: What to leave in; how far to steer, the run says, or 0.5 if it does not.

        Shape:
            condition: `[D]`. Output: float32 `[D]`, unit norm; `[2 D]`, wanted and unwanted, for
            a separator that was trained to take both.

        Raises:
            UsageError: Neither or both of query and condition, an empty text, or not a condition.
            DataError: A text's embedding is not known.
        """
        return condition_for(self.queries, self.record, self.model, query, condition, negative)

    def _in_memory(
        self,
        waveform: ArrayLike,
        sample_rate: int,
        conditions: torch.Tensor,
        chunk_seconds: float,
        shared: bool,
    ) -> NDArray[np.float32]:
        samples = check_waveform(waveform, sample_rate)
        mixture = np.atleast_2d(samples)
        blocks = separate_stream(
            *(self.model, lambda: iter([mixture]), conditions),
            channels=len(mixture),
            sample_rate=sample_rate,
            samples=mixture.shape[1],
            seconds=chunk_seconds,
            shared=shared,
        )
        return np.concatenate(list(blocks), axis=2).reshape(len(conditions), *samples.shape)
