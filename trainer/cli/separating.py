"""What `lqtse separate` does for a recording, a folder and a pipe, and what it says of each."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from cache_store import console
from cache_store.errors import EXIT_DATA, UsageError
from trainer.audio_in import PIPE, PipeReader
from trainer.audio_out import check_output
from trainer.output_names import plan_outputs, residual_of
from trainer.places import make_folder
from trainer.separate_file import FileSettings, Separated, Wanted, separate_recording
from trainer.separate_folder import Loading, separate_folder
from trainer.unfinished import sweep_unfinished
from trainer.wav_pipe import WavPipe

if TYPE_CHECKING:
    from trainer.run import RunRecord

SURE = 0.2  # below this confidence the sound is called absent
_LIVE_BLOCK = 0.1  # seconds


@dataclass(frozen=True)
class Request:
    """What was asked for on the command line."""

    source: Path
    queries: tuple[str, ...]
    output: Path | None
    out: Path | None
    residual: bool
    suffix: str
    workers: int
    loading: Loading
    settings: FileSettings
    as_json: bool


def check(request: Request, live: bool) -> None:
    """Refuse flags that do not go together, before anything is loaded.

    Raises:
        UsageError: Naming the flags.
    """
    if (request.output is None) == (request.out is None):
        raise UsageError("say where to write: -o FILE for one sound, or --out DIR")
    if request.output is not None and len(request.queries) > 1:
        raise UsageError("several queries give several sounds", hint="Use --out DIR in place of -o")
    if request.source.is_dir() and request.out is None:
        raise UsageError("a folder gives several sounds", hint="Use --out DIR in place of -o")
    if request.residual and request.output == PIPE:
        raise UsageError("a pipe holds one sound", hint="Use --out DIR for --residual")
    if live and (request.source != PIPE or request.output != PIPE):
        raise UsageError("--live goes from pipe to pipe", expected="- for INPUT, and -o -")


def separate_one(request: Request) -> None:
    """A recording, and all that is wanted of it."""
    separator = request.loading.load()
    wanted = _wanted(request)
    for place in {one.output.parent for one in wanted if one.output != PIPE}:
        sweep_unfinished(place)
    seconds = _seconds(request.source)
    with console.progress("separate", seconds, "s") as advance:
        done = separate_recording(
            separator, request.source, wanted, request.settings, advance=advance
        )
    first = done[0]
    _warn(request, separator.record, sum(one.clipped for one in done), first.sample_rate)
    facts: dict[str, object] = {}
    if request.settings.negative is not None:
        facts["not"] = request.settings.negative
    facts |= {
        "sample rate": first.sample_rate,
        "channels": first.channels,
        "seconds of audio": first.samples / first.sample_rate,
        "seconds taken": first.seconds_taken,
        "real time factor": first.real_time_factor,
    }
    sounds = [_sound(one) for one in done]
    if len(sounds) == 1:
        facts = {**sounds[0], **facts}
    elif request.as_json:
        facts["sounds"] = [_keys(sound) for sound in sounds]
    else:
        facts |= {one.query: _line(one) for one in done}
    if request.settings.confidence:
        _tell_confidence(request, done, separator.judge.deaf)
    _summarise(request, facts)


def separate_many(request: Request) -> None:
    """A folder of recordings; exit code 3 if one of them failed."""
    assert request.out is not None
    begin = time.monotonic()
    result = separate_folder(
        request.loading,
        request.source,
        request.out,
        request.queries,
        request.settings,
        suffix=request.suffix,
        residual=request.residual,
        workers=request.workers,
    )
    for name, why in result.failed.items():
        console.warn(f"left out: {name}: {why}")
    firsts = [sounds[0] for sounds in result.done.values()]
    seconds = sum(one.samples / one.sample_rate for one in firsts)
    taken = time.monotonic() - begin
    clipped = sum(one.clipped for sounds in result.done.values() for one in sounds)
    _warn(request, None, clipped, 0)
    facts: dict[str, object] = {
        "recordings": len(result.done),
        "finished before": len(result.skipped),
        "failed": result.failed if request.as_json else len(result.failed),
        "sounds": str(request.out),
        "seconds of audio": seconds,
        "seconds taken": taken,
    }
    if seconds:
        facts["real time factor"] = taken / seconds
    judged = any(one.confidence is not None for one in firsts)
    if result.deaf and judged:
        console.note(f"confidence is by energy alone: {result.deaf}")
    _summarise(request, facts)
    if result.failed:
        raise typer.Exit(EXIT_DATA)


def separate_live(request: Request) -> None:
    """From standard input to standard output while the recording goes on."""
    separator = request.loading.load()
    reader = PipeReader(sys.stdin.buffer)
    live = separator.live(
        reader.sample_rate,
        reader.channels,
        query=request.queries[0],
        negative=request.settings.negative,
        chunk_seconds=request.settings.chunk_seconds,
        shared=request.settings.shared,
    )
    encoding = check_output(PIPE, request.settings.subtype)[1]
    out = WavPipe(sys.stdout.buffer, reader.sample_rate, reader.channels, encoding)
    console.note(
        f"at most {live.latency_seconds:.2f} s late; the separator goes through "
        f"{live.work:.1f} s of sound for a second"
    )
    for block in reader.blocks(_LIVE_BLOCK):
        out.write(live.push(block))
    out.write(live.finish())
    _warn(request, separator.record, out.clipped, reader.sample_rate)


def _wanted(request: Request) -> list[Wanted]:
    if request.output is not None:
        rest = residual_of(request.output) if request.residual else None
        return [Wanted(request.queries[0], request.output, rest)]
    assert request.out is not None
    name = Path("input") if request.source == PIPE else Path(request.source.name)
    plan = plan_outputs([name], request.queries, request.suffix, request.residual)[0]
    make_folder(request.out)
    return [
        Wanted(
            one.query,
            request.out / one.output,
            request.out / one.residual if one.residual else None,
        )
        for one in plan
    ]


def _seconds(source: Path) -> int | None:
    """Whole seconds of a recording; None where nobody knows yet."""
    from cache_store.clips import probe

    if source == PIPE:
        return None
    info = probe(source)
    return info.frames // info.sample_rate


def _warn(request: Request, record: RunRecord | None, clipped: int, sample_rate: int) -> None:
    if record is not None and request.settings.negative is not None and not record.negative:
        console.warn(
            "this run was not trained with negative conditions, so --not may do little: "
            "train with --negative 0.5"
        )
    if clipped:
        console.warn(
            f"{clipped:,} samples were beyond full scale and are held there; "
            "--subtype float keeps them"
        )
    if record is not None and sample_rate > record.sample_rate:
        console.note(
            f"the separator hears up to {record.sample_rate // 2:,} Hz: above that the output is "
            "silent"
        )


def _sound(one: Separated) -> dict[str, object]:
    facts: dict[str, object] = {"query": one.query, "output": str(one.output)}
    if one.residual is not None:
        facts["residual"] = str(one.residual)
    facts["energy share"] = one.energy_share
    if one.clap_score is not None:
        facts["clap score"] = one.clap_score
    if one.confidence is not None:
        facts["confidence"] = one.confidence
    return facts


def _keys(facts: dict[str, object]) -> dict[str, object]:
    """Names as JSON has them elsewhere in the summary."""
    return {name.replace(" ", "_"): value for name, value in facts.items()}


def _line(one: Separated) -> str:
    facts = _sound(one)
    scores = [f"{name} {value:.2f}" for name, value in facts.items() if isinstance(value, float)]
    return ", ".join([str(one.output), *scores])


def _tell_confidence(request: Request, done: Sequence[Separated], deaf: str) -> None:
    if deaf and done[0].confidence is not None:
        console.note(f"confidence is by energy alone: {deaf}")
    for one in done:
        if one.confidence is not None and one.confidence < SURE:
            console.note(
                f"nothing like {one.query!r} seems to be in here (confidence {one.confidence:.2f})"
            )
    if done[0].confidence is None:
        run = shlex.quote(str(request.loading.run))
        console.note(f"for a confidence figure: lqtse calibrate {run} --audio HELD_OUT")


def _summarise(request: Request, facts: dict[str, Any]) -> None:
    if request.output == PIPE:
        # Standard output is the sound's.
        for name, value in facts.items():
            console.note(f"  {name}  {value}")
        return
    words = ["lqtse", "separate", str(request.loading.run), str(request.source)]
    place = ["--out", str(request.out)] if request.out is not None else ["-o", "other.wav"]
    again = shlex.join([*words, "--query", "another sound", *place])
    console.summarise(facts, as_json=request.as_json, next_command=again)
