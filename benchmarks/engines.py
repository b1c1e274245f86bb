"""Time `lqtse-cache embed` by engine and number of workers: what Ray costs, and what workers bring.

    python benchmarks/engines.py --captions 40000 --shard-rows 4000 --rounds 3

Each run is the whole command in a process of its own, on a fresh copy of one cache of made-up
captions; the ways take turns, so that other load on the machine meets all of them,
and the medians are shown. "Wall" is the whole command, Ray's start and end included; "work" is
what the command itself reports: from the first worker's start to the last shard. If a way makes
other bytes than the first, the run fails.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

from cache_store.manifest import newest_manifest
from pipeline.importing import import_captions

WAYS = (("local", 1), ("local", 2), ("ray", 1), ("ray", 2))
_COMMAND = [sys.executable, "-c", "from pipeline.cli import main; main()", "embed"]


def write_captions(path: Path, count: int) -> Path:
    """Different captions of three to twelve words, as long as a language model's are."""
    things = ("a dog", "heavy rain", "two violins", "a door", "an engine", "children", "thunder")
    ways = ("loudly", "far away", "in a hall with much echo", "behind a wall", "again and again")
    lines = [
        f"{things[number % 7]} heard {ways[number // 7 % 5]} for the {number}th time"
        for number in range(count)
    ]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def embed(cache: Path, engine: str, workers: int, space: str) -> tuple[float, float]:
    """Seconds of the whole command, and of its work."""
    words = [str(cache), "--engine", engine, "--workers", str(workers), "--device", "cpu"]
    begin = time.perf_counter()
    done = subprocess.run(
        [*_COMMAND, *words, "--space", space, "--json"], check=True, capture_output=True, text=True
    )
    return time.perf_counter() - begin, float(json.loads(done.stdout)["seconds"])


def main() -> None:
    """Run all ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--captions", type=int, default=40_000)
    parser.add_argument("--shard-rows", type=int, default=4_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--space", default="tiny")
    options = parser.parse_args()
    seconds: dict[tuple[str, int], list[tuple[float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = write_captions(folder / "captions.txt", options.captions)
        import_captions(folder / "empty", source, shard_rows=options.shard_rows)
        expected = None
        for _ in range(options.rounds):
            for way in WAYS:
                cache = Path(shutil.copytree(folder / "empty", folder / "cache"))
                seconds[way].append(embed(cache, *way, options.space))
                manifest = newest_manifest(cache)
                assert manifest is not None
                expected = expected or manifest.data
                if manifest.data != expected:
                    raise SystemExit(f"{way} made other files than {WAYS[0]}")
                shutil.rmtree(cache)
    print(
        f"{options.captions:,} captions in shards of {options.shard_rows:,}, space "
        f"{options.space}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, "
        f"Ray {version('ray')}, torch {version('torch')}, Python {platform.python_version()}; "
        f"load {os.getloadavg()[0]:.1f}; medians of {options.rounds}"
    )
    print("| engine | workers | wall s | work s | captions/s of work |")
    print("|---|---|---|---|---|")
    for (engine, workers), runs in seconds.items():
        wall, work = (statistics.median(run[part] for run in runs) for part in (0, 1))
        print(
            f"| {engine} | {workers} | {wall:.1f} | {work:.1f} | {options.captions / work:,.0f} |"
        )


if __name__ == "__main__":
    main()
