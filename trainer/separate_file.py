"""A recording in a file or a pipe, separated into others block by block, for all queries at once.

The recording is read twice, first for its level and length; each time it is decoded and resampled
once, however many queries there are. What waits for its estimate is a chunk, so memory does not
grow with length. Outputs appear when all of them are whole.

Letters: Q queries, C channels, T samples.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from cache_store.errors import AudioError, UsageError
from trainer.audio_in import PIPE, read_blocks, spooled
from trainer.audio_out import Writer, check_output, open_audio
from trainer.chunks import CHUNK_SECONDS
from trainer.level_meter import LevelMeter
from trainer.resampling import Resampler
from trainer.streaming import separate_stream
from trainer.wav_pipe import WavPipe

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from trainer.separate import Separator


@dataclass(frozen=True)
class Wanted:
    """What to take out of a recording, and where to put it.

    Attributes:
        query: In words.
        output: Where to write it; `-` for standard output, as WAV.
        residual: Where to write the recording without it, if wanted.
    """

    query: str
    output: Path
    residual: Path | None = None


@dataclass(frozen=True)
class FileSettings:
    """How to separate files.

    Attributes:
        negative: What to leave in, in words.
        subtype: `float`, `pcm16` or `pcm24`; None for float, or the best the format has.
        chunk_seconds: Length of the pieces it works on.
        shared: Whether several channels get one mask.
        confidence: Whether to judge how likely it is that the sound is in the recording.
    """

    negative: str | None = None
    subtype: str | None = None
    chunk_seconds: float = CHUNK_SECONDS
    shared: bool = True
    confidence: bool = True


@dataclass(frozen=True)
class Separated:
    """What became of one query.

    Attributes:
        query: In words.
        output: The estimate.
        residual: What is left of the recording without it, None if not asked for.
        sample_rate: Of both, in Hz.
        channels: C.
        samples: T.
        clipped: Samples beyond full scale that an integer format could not hold.
        seconds_taken: Of the whole recording, for all queries together.
        energy_share: Energy of the estimate over that of the recording, up to half the
            separator's sample rate.
        clap_score: Cosine of the estimate with the query where it has its energy (the audio and
            text embeddings of the run's space); None where the space hears nothing.
        confidence: Probability that what was asked for is in the recording; None without a
            calibration (`lqtse calibrate`).
    """

    query: str
    output: Path
    residual: Path | None
    sample_rate: int
    channels: int
    samples: int
    clipped: int
    seconds_taken: float = 0.0
    energy_share: float = 0.0
    clap_score: float | None = None
    confidence: float | None = None

    @property
    def real_time_factor(self) -> float:
        """Seconds taken for a second of the recording, for all queries together."""
        return self.seconds_taken * self.sample_rate / self.samples


def separate_recording(
    separator: Separator,
    source: Path,
    wanted: Sequence[Wanted],
    settings: FileSettings = FileSettings(),
    *,
    advance: Callable[[int], None] | None = None,
) -> tuple[Separated, ...]:
    """Separate a recording; see the module.

    Args:
        separator: Loaded.
        source: The recording; `-` for standard input.
        wanted: At least one query, each with its outputs.
        settings: How.
        advance: Is told of every second of the recording that is done.

    Raises:
        AudioError: The recording is missing, unreadable, empty, or not finite.
        UsageError: An output is not a file that can be written so, or is named twice.
        StorageError: The place of an output cannot be written.
        DataError: A query's embedding is not known.
    """
    _check(source, wanted, settings.subtype)
    conditions = torch.stack(
        [separator.condition(one.query, negative=settings.negative) for one in wanted]
    )
    if source == PIPE:
        with spooled(sys.stdin.buffer) as file:
            return _separate(separator, file, wanted, conditions, settings, advance)
    return _separate(separator, source, wanted, conditions, settings, advance)


def _separate(
    separator: Separator,
    source: Path,
    wanted: Sequence[Wanted],
    conditions: Tensor,
    settings: FileSettings,
    advance: Callable[[int], None] | None,
) -> tuple[Separated, ...]:
    from cache_store.clips import probe

    begin = time.monotonic()
    info = probe(source)
    rate, channels = info.sample_rate, info.channels
    level, samples = _measure(source, channels, rate, separator.record.sample_rate)
    if not samples:
        raise AudioError("the recording has no samples", where=source)
    evidence = separator.judge.evidence(len(wanted), settings.confidence)
    recording = _Held(read_blocks(source))
    estimates = separate_stream(
        separator.model,
        recording.watched,
        conditions,
        channels=channels,
        sample_rate=rate,
        samples=samples,
        seconds=settings.chunk_seconds,
        shared=settings.shared,
        level=level,
        listen=evidence.add,
    )
    done = 0
    with ExitStack() as stack:

        def open_(path: Path | None) -> Writer | None:
            if path is None:
                return None
            return _writer(stack, path, rate, channels, settings.subtype, samples)

        writers = [(open_(one.output), open_(one.residual)) for one in wanted]
        for block in estimates:
            mixture = recording.take(block.shape[2])
            for estimate, (out, rest) in zip(block, writers, strict=True):
                assert out is not None
                # The rest of what was written, not of what was meant: they add up in integers too.
                kept = out.write(estimate)
                if rest is not None:
                    rest.write(mixture - kept)
            if advance is not None:
                advance((done + mixture.shape[1]) // rate - done // rate)
            done += mixture.shape[1]
        clipped = [sum(writer.clipped for writer in pair if writer) for pair in writers]
    judged = separator.judge.verdicts(evidence, [one.query for one in wanted])
    taken = time.monotonic() - begin
    return tuple(
        Separated(
            *(one.query, one.output, one.residual, rate, channels, samples, count),
            seconds_taken=taken,
            energy_share=verdict.energy_share,
            clap_score=verdict.clap_score,
            confidence=verdict.confidence,
        )
        for one, count, verdict in zip(wanted, clipped, judged, strict=True)
    )


def _measure(source: Path, channels: int, rate: int, own_rate: int) -> tuple[Tensor, int]:
    """The level of each channel at the model's rate, and how many samples there really are."""
    meter, stream, samples = LevelMeter(channels), Resampler(channels, rate, own_rate), 0
    for block in read_blocks(source):
        samples += block.shape[1]
        meter.add(stream.push(block))
    meter.add(stream.finish())
    return meter.level(), samples


class _Held:
    """What was read of a recording and still waits for its estimate."""

    def __init__(self, blocks: Iterator[NDArray[np.float32]]) -> None:
        self._blocks = blocks
        self._waiting: list[NDArray[np.float32]] = []

    def watched(self) -> Iterator[NDArray[np.float32]]:
        """The recording, remembered as it is read."""
        for block in self._blocks:
            self._waiting.append(block)
            yield block

    def take(self, samples: int) -> NDArray[np.float32]:
        """The next samples of it. Shape: `[C, samples]`."""
        joined = np.concatenate(self._waiting, axis=1)
        self._waiting = [joined[:, samples:]]
        return joined[:, :samples]


def _writer(
    stack: ExitStack, path: Path, rate: int, channels: int, subtype: str | None, samples: int
) -> Writer:
    if path == PIPE:
        return WavPipe(sys.stdout.buffer, rate, channels, check_output(path, subtype)[1], samples)
    return stack.enter_context(open_audio(path, rate, channels, subtype, samples))


def _check(source: Path, wanted: Sequence[Wanted], subtype: str | None) -> None:
    if not wanted:
        raise UsageError("there is nothing to ask for", expected="at least one query")
    paths = [path for one in wanted for path in (one.output, one.residual) if path is not None]
    for number, path in enumerate(paths):
        check_output(path, subtype)
        if path in paths[:number]:
            raise UsageError("two sounds would be written to one file", where=path)
        if source.exists() and path.exists() and source.samefile(path):
            raise UsageError("the output would replace the recording", where=path)
