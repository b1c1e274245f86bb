"""Time the making of training mixtures against AudioSep's dataset and mixer, on the same files.

    git clone https://github.com/Audio-AGI/AudioSep
    python benchmarks/data.py --audiosep AudioSep

Makes two sets of recordings, clips of 5 s and files of 10 minutes, and lets both mix two-source
mixtures of 5 s at 32 kHz from them, in batches, for a while. Theirs is imported from a checkout and
left as it is, but for torchaudio, which has no build for CPUs alone here: soundfile decodes for it
and soxr resamples. Every contestant runs in a process of its own; they take turns, so that other
load on the machine meets all of them, and the median is shown. Torch has one thread, as it has in
the workers of any loader. Processor seconds are those of the process and its workers: they are what
to compare on a machine that is shared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import soundfile
import soxr
import torch

from cache_store.clips import read_clips, usable
from trainer.clip_audio import ClipAudio
from trainer.data import MixtureDataset, collate

RATE, SOURCE_RATE = 32_000, 44_100  # in Hz: of the mixtures (AudioSep's), of the recordings
SECONDS, BATCH = 5, 12  # AudioSep's, the second by default
LEVELS = (-10, 10)  # in dB, AudioSep's
LEAST = 2  # batches that a turn lasts
SETS = ("clips", "files")
OURS = ("lqtse, from memory", "lqtse, from a file (--disk-gb)", "lqtse, decoding each crop")
THEIRS = "AudioSep"
LARGE = 1 << 34  # bytes


def write_recordings(folder: Path, count: int, seconds: float) -> None:
    """Recordings of noise that swells and fades, 16 bits, one channel, with AudioSep's list."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    minute = rng.standard_normal(60 * SOURCE_RATE, dtype=np.float32)
    rows = []
    for number in range(count):
        samples = round(seconds * SOURCE_RATE)
        noise = np.resize(np.roll(minute, int(rng.integers(len(minute)))), samples)
        time_axis = np.arange(samples, dtype=np.float32) / SOURCE_RATE
        envelope = 0.05 + 0.1 * np.sin(2 * np.pi * rng.uniform(0.1, 2) * time_axis) ** 2
        path = folder / f"{number:04}.wav"
        soundfile.write(path, noise * envelope, SOURCE_RATE, "PCM_16")
        rows.append({"wav": str(path), "caption": f"noise {number}"})
    (folder / "list.json").write_text(json.dumps({"data": rows}))


def audiosep_batches(options: argparse.Namespace, folder: Path) -> Iterator[Any]:
    """Mixtures and segments by AudioSep's own code."""
    stand_in = types.ModuleType("torchaudio")
    stand_in.functional = types.SimpleNamespace(resample=_resample)  # type: ignore[attr-defined]
    stand_in.load = _load  # type: ignore[attr-defined]
    sys.modules["torchaudio"] = stand_in
    # Imported by its mixer for a function that nothing calls.
    sys.modules.setdefault("pyloudnorm", types.ModuleType("pyloudnorm"))
    # In place of this file's folder: its `data` is a folder without `__init__`, so ours would win.
    sys.path[0] = str(options.audiosep)
    from data.audiotext_dataset import AudioTextDataset  # type: ignore[import-not-found]
    from data.waveform_mixers import SegmentMixer  # type: ignore[import-not-found]

    dataset = AudioTextDataset([str(folder / "list.json")], RATE, SECONDS)
    mixer = SegmentMixer(2, *LEVELS)
    # With replacement, since there may be fewer files than a batch has places.
    sampler = torch.utils.data.RandomSampler(dataset, replacement=True, num_samples=1 << 20)
    for batch in _loader(dataset, options, sampler=sampler):
        yield mixer(batch["waveform"])


def _load(path: str, channels_first: bool = True) -> tuple[Any, int]:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T.copy() if channels_first else samples), rate


def _resample(wave: Any, orig_freq: int, new_freq: int) -> Any:
    return torch.from_numpy(soxr.resample(wave.numpy().T, orig_freq, new_freq).T.copy())


def our_batches(options: argparse.Namespace, folder: Path) -> Iterator[Any]:
    """Mixtures as `lqtse train` makes them."""
    clips, _ = usable(read_clips(folder), sample_rate=RATE)
    memory, disk = ((LARGE, 0), (0, LARGE), (0, 0))[OURS.index(options.contestant)]
    audio = ClipAudio(clips, RATE, memory_limit=memory, disk_limit=disk, folder=folder)
    audio.measure()
    dataset = MixtureDataset(clips, audio, seconds=SECONDS, snr=LEVELS)
    for batch in _loader(dataset, options, collate_fn=collate):
        yield batch["mixture"], batch["target"]


def _loader(dataset: Any, options: argparse.Namespace, **arguments: Any) -> Any:
    return torch.utils.data.DataLoader(
        dataset, options.batch, num_workers=options.workers, **arguments
    )


def measure(options: argparse.Namespace) -> None:
    """Run one contestant on one set; print what it took, as JSON."""
    torch.set_num_threads(1)
    folder = options.folder / options.set
    begin = time.perf_counter()
    make = audiosep_batches if options.contestant == THEIRS else our_batches
    batches = make(options, folder)
    next(batches)
    before = time.perf_counter() - begin
    for _ in range(2 * options.workers):  # what was made ahead
        next(batches)
    done, cpu, begin = 0, _cpu_seconds(), time.perf_counter()
    while done < LEAST * options.batch or time.perf_counter() - begin < options.seconds:
        mixture, _ = next(batches)
        done += len(mixture)
    found = {
        "rate": done / (time.perf_counter() - begin),
        "cpu": (_cpu_seconds() - cpu) / done,
        "before": before,
        "mb": _peak_mb(),
    }
    print(json.dumps(found))


def _cpu_seconds() -> float:
    """Of this process and its workers, so far."""
    own = psutil.Process()
    times = [process.cpu_times() for process in (own, *own.children(recursive=True))]
    return sum(spent.user + spent.system for spent in times)


def _peak_mb() -> float:
    """The most memory that this process has had, in MB; getrusage's is the parent's as well."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def compare(options: argparse.Namespace) -> None:
    """Make the recordings, let the contestants take turns, and print a Markdown table a set."""
    sizes = {"clips": (options.clips, SECONDS), "files": (options.files, 60 * options.minutes)}
    for name in options.sets:
        write_recordings(options.folder / name, *sizes[name])
    print(
        f"{options.workers} workers, {options.rounds} rounds of {options.seconds:g} s or more, "
        f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} processors, torch {torch.__version__}, "
        f"Python {platform.python_version()}"
    )
    titles = {
        "clips": f"{options.clips} clips of {SECONDS} s",
        "files": f"{options.files} files of {options.minutes:g} min",
    }
    for which in options.sets:
        found: dict[str, list[dict[str, float]]] = {}
        for _ in range(options.rounds):
            for contestant in (THEIRS, *OURS):
                found.setdefault(contestant, []).append(_in_process(options, which, contestant))
        print(
            f"\n| {titles[which]} | mixtures/s | to AudioSep | CPU ms a mixture | to AudioSep "
            "| s to the first | MB |\n|---|---|---|---|---|---|---|"
        )
        table = {
            name: {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
            for name, turns in found.items()
        }
        theirs = table[THEIRS]
        for name, row in table.items():
            print(
                f"| {name} | {row['rate']:.1f} | {row['rate'] / theirs['rate']:.1f} "
                f"| {row['cpu'] * 1e3:.1f} | {theirs['cpu'] / row['cpu']:.1f} "
                f"| {row['before']:.1f} | {row['mb']:.0f} |"
            )


def _in_process(options: argparse.Namespace, which: str, contestant: str) -> dict[str, float]:
    command = [sys.executable, "-W", "ignore", __file__, *sys.argv[1:]]
    command += ["--folder", str(options.folder), "--set", which, "--contestant", contestant]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Read the command line, and compare; or, in a process of one contestant, measure it."""
    parser = argparse.ArgumentParser(description="Time our mixtures and AudioSep's.")
    parser.add_argument("--audiosep", type=Path, required=True, help="a checkout of AudioSep")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--files", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=10.0, help="length of a file")
    parser.add_argument("--workers", type=int, default=0, help="processes that make mixtures")
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--seconds", type=float, default=10.0, help="that a turn lasts")
    parser.add_argument("--sets", choices=SETS, nargs="+", default=SETS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--set", choices=SETS, help=argparse.SUPPRESS)
    parser.add_argument("--contestant", choices=(THEIRS, *OURS), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.contestant is not None:
        measure(options)
        return
    with tempfile.TemporaryDirectory(prefix="lqtse-data-") as folder:
        options.folder = Path(folder)
        compare(options)


if __name__ == "__main__":
    main()
