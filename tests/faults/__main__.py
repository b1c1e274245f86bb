"""`make faults`: everything that can go wrong with the disk, at every point; prints the tables.

python -m tests.faults            every operation, 400 bits and 40 cuts a kind of file
python -m tests.faults --small    what the test suite runs
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tests.faults.damage import Patient
from tests.faults.disk import ACCIDENTS, Bench
from tests.faults.operations import OPERATIONS
from tests.faults.races import race_readers, race_writers
from tests.faults.server import shim


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(f"{x:,}" if isinstance(x, int) else str(x) for x in line) + " |"
        for line in lines
    )


def disk(folder: Path, every: int) -> str:
    """Every accident to every command."""
    rows = []
    try:
        with shim() as server:
            for name in OPERATIONS:
                bench = Bench(name, folder / name, server)
                for accident in ACCIDENTS:
                    got = bench.suffer(accident, every)
                    about = (got.points, got.runs, got.distinct)
                    rows.append((name, accident.name, *about, got.befores, got.afters))
                got = bench.cut_power()
                about = (got.points, got.runs, got.distinct)
                rows.append((name, "power cut", *about, got.befores, got.afters))
                print(*rows[-len(ACCIDENTS) - 1 :], sep="\n", flush=True)
    except RuntimeError as error:
        return f"Not run: {error}"
    head = [
        "command",
        "accident",
        "points",
        "accidents",
        "different states",
        "as before",
        "as after",
    ]
    return table(head, rows)


def damage(folder: Path, flips: int, cuts: int) -> str:
    """Flipped bits and cuts in every kind of file."""
    patient, rows = Patient(folder), []
    for name, path in patient.kinds().items():
        for what, got in (
            ("bit flipped", patient.flip(path, flips)),
            ("cut", patient.cut(path, cuts)),
        ):
            unasked = (got.told, got.right, got.wrong) if name != "card" else ("–",) * 3
            rows.append((name, what, got.damages, got.found, got.harmless, got.books, *unasked))
        print(*rows[-2:], sep="\n", flush=True)
    head = (
        "file|damage|times|found by verify|harmless|of these in the ledger's bookkeeping|"
        "unverified: told|unverified: right|unverified: wrong"
    )
    return table(head.split("|"), rows)


def races(folder: Path, turns: int) -> str:
    """Processes against each other."""
    waited = race_writers(folder / "writers", turns=turns)
    opened = race_readers(folder / "readers", turns=turns)
    rows = [
        (f"2 writers, {turns} publications each", f"nothing lost; {waited} times told to wait"),
        (f"3 readers, {turns} publications", f"opened {opened} times, each time whole"),
    ]
    return table(("race", "outcome"), rows)


def main() -> None:
    """Run all of it; an AssertionError names the first promise that was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--every", type=int, default=1, help="hit every so many operations")
    every = parser.parse_args().every
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="lqtse-faults-", dir=memory if memory.is_dir() else None))
    begin = time.monotonic()
    try:
        parts = (
            damage(folder / "damage", 400, 40),
            disk(folder / "disk", every),
            races(folder / "races", 20),
        )
    finally:
        shutil.rmtree(folder)
    print("", *parts, sep="\n\n")
    print(f"\nevery promise held; {time.monotonic() - begin:.0f} s in all")


if __name__ == "__main__":
    main()
