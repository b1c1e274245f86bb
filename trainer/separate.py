"""Take the sound that a text asks for out of a recording.

    from trainer import Separator
    separator = Separator.load("run")
    estimate = separator.separate(waveform, sample_rate, query="a dog barks")

Any sample rate, any length, any number of channels: the estimate has the recording's own, in
memory that does not grow with its length. Channels are separated one by one. Above half the
separator's own sample rate the estimate is silent, and what is there goes to the residual.

Letters: C channels, T samples, D embedding size.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from cache_store.errors import AudioError, UsageError
from trainer.audio_out import AudioWriter, check_output, open_audio
from trainer.conditioning.negative import NEGATIVE, steer_away
from trainer.queries import TextQueries
from trainer.run import RunFolder, RunRecord, load_model
from trainer.streaming import CHUNK_SECONDS, separate_stream

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from trainer.models import SeparatorModel

_BLOCK_SECONDS = 5.0


@dataclass(frozen=True)
class Separated:
    """What `Separator.separate_file` did.

    Attributes:
        output: The estimate.
        residual: What is left of the recording without it, None if not asked for.
        sample_rate: Of both, in Hz.
        channels: C.
        samples: T.
        clipped: Samples beyond full scale that an integer format could not hold.
    """

    output: Path
    residual: Path | None
    sample_rate: int
    channels: int
    samples: int
    clipped: int


class Separator:
    """A trained separator and the space that its queries live in; made by `Separator.load`.

    Attributes:
        model: In evaluation mode.
        record: What was trained.
        queries: From text to condition.
    """

    def __init__(self, model: SeparatorModel, record: RunRecord, queries: TextQueries) -> None:
        self.model = model
        self.record = record
        self.queries = queries

    @classmethod
    def load(
        cls,
        run: str | Path,
        *,
        checkpoint: str = "best",
        space: str = "",
        space_name: str = "",
        device: str = "auto",
    ) -> Separator:
        """Load a run.

        Args:
            run: Its folder.
            checkpoint: `best` or `last`.
            space: A model or table for the queries, as `--space` takes it; "" for the run's own.
            space_name: Where a `stored:` table's embeddings came from, if its file does not say.
            device: `auto`, `cpu`, `cuda`, `cuda:N`.

        Raises:
            DataError: No run, or a checkpoint that is missing, damaged or not ours.
            SpaceMismatchError: `space` is not the one that the run was trained in.
        """
        from cache_store.spaces.base import pick_device

        model, record = load_model(RunFolder(Path(run)), checkpoint)
        queries = TextQueries(
            record.space,
            spec=space or record.space_spec,
            space_name=space_name,
            cache=record.cache["path"],
            device=device,
        )
        return cls(model.to(pick_device(device)), record, queries)

    def separate(
        self,
        waveform: ArrayLike,
        sample_rate: int,
        *,
        query: str | None = None,
        negative: str | None = None,
        condition: ArrayLike | None = None,
        chunk_seconds: float = CHUNK_SECONDS,
    ) -> NDArray[np.float32]:
        """Separate samples in memory.

        Args:
            waveform: Floating-point samples.
            sample_rate: In Hz.
            query: What to take out; or give `condition`.
            negative: What to leave in, beside a query.
            condition: An embedding of the run's space in place of a query.
            chunk_seconds: Length of the pieces it works on.

        Shape:
            - waveform: `[T]` or `[C, T]`
            - condition: `[D]`
            - returns: as `waveform`

        Raises:
            AudioError: There are no samples, or some that are not finite.
            UsageError: Neither or both of query and condition, or a waveform of another shape.
            DataError: The query's embedding is not known.
        """
        samples = np.asarray(waveform)
        if samples.ndim not in (1, 2) or samples.dtype.kind != "f" or sample_rate <= 0:
            raise UsageError(
                "cannot separate this waveform",
                expected="floats [T] or [C, T] at a positive sample rate",
                found=f"{samples.dtype} {list(samples.shape)} at {sample_rate} Hz",
            )
        mixture = np.atleast_2d(samples).astype(np.float32, copy=False)
        if not mixture.size:
            raise AudioError("there are no samples to separate")
        if not np.isfinite(mixture).all():
            raise AudioError("there are samples that are not finite (NaN or infinite)")
        blocks = separate_stream(
            self.model,
            lambda: iter([mixture]),
            self.condition(query, condition, negative=negative),
            channels=len(mixture),
            sample_rate=sample_rate,
            samples=mixture.shape[1],
            seconds=chunk_seconds,
        )
        return np.concatenate(list(blocks), axis=1).reshape(samples.shape)

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
    ) -> Separated:
        """Separate an audio file into another, block by block.

        Args:
            source: The recording.
            output: The estimate; its suffix says the format.
            query: What to take out.
            negative: What to leave in.
            residual: Where to write the recording without it, if wanted.
            subtype: `float`, `pcm16` or `pcm24`; by default float, or the best the format has.
            chunk_seconds: Length of the pieces it works on.

        Raises:
            AudioError: The recording is missing, unreadable, empty, or not finite.
            UsageError: The output is not a file that can be written so.
            StorageError: The place of the output cannot be written.
            DataError: The query's embedding is not known.
        """
        from cache_store.clips import probe

        source, output = Path(source), Path(output)
        rest = Path(residual) if residual is not None else None
        for path in filter(None, (output, rest)):
            check_output(path, subtype)
            _refuse_same(source, path)
        info = probe(source)
        if not info.frames:
            raise AudioError("the recording has no samples", where=source)
        rate, channels = info.sample_rate, info.channels
        estimate = separate_stream(
            self.model,
            lambda: read_blocks(source),
            self.condition(query, negative=negative),
            channels=channels,
            sample_rate=rate,
            samples=info.frames,
            seconds=chunk_seconds,
        )
        with open_audio(output, rate, channels, subtype) as out:
            if rest is None:
                for block in estimate:
                    out.write(block)
                clipped = out.clipped
            else:
                with open_audio(rest, rate, channels, subtype) as left:
                    _write_both(source, estimate, out, left)
                clipped = out.clipped + left.clipped
        return Separated(output, rest, rate, channels, info.frames, clipped)

    def condition(
        self,
        query: str | None = None,
        condition: ArrayLike | None = None,
        *,
        negative: str | None = None,
    ) -> torch.Tensor:
        """The condition for a query, steered away from a negative one if there is one.

        Args:
            query: What to take out; or give `condition`.
            condition: An embedding of the run's space.
            negative: What to leave in. The run says how far to steer (`negative` of its
                training); one that was not trained for it is steered by 0.5.

        Shape:
            condition: `[D]`. Output: float32 `[D]`, unit norm.

        Raises:
            UsageError: Neither or both of query and condition, an empty text, or not a condition.
            DataError: A text's embedding is not known.
        """
        if (query is None) == (condition is None):
            raise UsageError("give a query or a condition, one of them")
        wanted = self._embedded(query) if query is not None else self._checked(condition)
        if negative is None:
            return wanted
        factor = self.record.negative or NEGATIVE
        return steer_away(wanted, self._embedded(negative), factor)

    def _embedded(self, text: str) -> torch.Tensor:
        if not text.strip():
            raise UsageError("the query is empty", expected='text, such as "a dog barks"')
        return torch.from_numpy(self.queries.embed([text])[0])

    def _checked(self, condition: ArrayLike | None) -> torch.Tensor:
        vector = np.asarray(condition, dtype=np.float32)
        if vector.shape != (self.record.space.dim,) or not np.isfinite(vector).all():
            raise UsageError(
                "not a condition for this run",
                expected=f"{self.record.space.dim} finite values",
                found=list(vector.shape),
            )
        return torch.from_numpy(vector / max(float(np.linalg.norm(vector)), 1e-12))


def read_blocks(path: Path) -> Iterator[NDArray[np.float32]]:
    """Read a recording as it is, a few seconds at a time. Yields float32 `[C, T]`.

    Raises:
        AudioError: It cannot be read, or has samples that are not finite.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            size = max(1, round(_BLOCK_SECONDS * file.samplerate))
            while len(block := file.read(size, dtype="float32", always_2d=True)):
                if not np.isfinite(block).all():
                    raise AudioError("there are samples that are not finite", where=path)
                yield np.ascontiguousarray(block.T)
    except soundfile.LibsndfileError as error:
        raise AudioError("the recording cannot be decoded", where=path, found=error) from error


def _write_both(
    source: Path, estimate: Iterator[NDArray[np.float32]], out: AudioWriter, rest: AudioWriter
) -> None:
    """Write the estimate, and the recording less the estimate, side by side."""
    recording = read_blocks(source)
    held = next(recording)
    for block in estimate:
        size = block.shape[1]
        while held.shape[1] < size:
            more = next(recording, None)
            # A file shorter than its header says: the estimate was filled with zeros too.
            missing = np.zeros((len(block), size - held.shape[1]), np.float32)
            held = np.concatenate([held, missing if more is None else more], axis=1)
        out.write(block)
        rest.write(held[:, :size] - block)
        held = held[:, size:]


def _refuse_same(source: Path, output: Path) -> None:
    if source.exists() and output.exists() and source.samefile(output):
        raise UsageError("the output would replace the recording", where=output)
