"""The small form of `make faults`: the same code, at some of the points."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.damage import Patient
from tests.faults.disk import ACCIDENTS, Accident, Bench
from tests.faults.races import race_readers, race_writers
from tests.faults.server import Shim, shim

SHARE = 13  # of the operations, every so many are hit; another one for each accident


@pytest.fixture(scope="module")
def server() -> Iterator[Shim]:
    try:
        with shim() as running:
            yield running
    except RuntimeError as error:
        pytest.skip(str(error))


@pytest.fixture
def memory() -> Iterator[Path]:
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder:
        yield Path(folder)


@pytest.mark.parametrize("accident", ACCIDENTS, ids=lambda accident: accident.name)
@pytest.mark.parametrize("command", ["embed", "index"])
def test_an_accident_leaves_before_or_after(
    server: Shim, memory: Path, command: str, accident: Accident
) -> None:
    first = 1 + 2 * ACCIDENTS.index(accident)
    count = Bench(command, memory, server, rerun_every=2).suffer(accident, SHARE, first)
    assert count.runs == count.points == count.befores + count.afters
    assert count.points >= 2


def test_repair_takes_no_file_for_damaged_that_the_disk_does_not_read(
    server: Shim, memory: Path
) -> None:
    count = Bench("repair", memory, server, rerun_every=4).suffer(ACCIDENTS[0], 2 * SHARE)
    assert count.runs == count.befores + count.afters
    assert count.befores >= 2


@pytest.mark.parametrize(
    "command", ["generate", "generate in batches", "repair", "index --centre", "index ivf"]
)
def test_a_kill_half_way_leaves_what_the_rerun_ends(
    server: Shim, memory: Path, command: str
) -> None:
    count = Bench(command, memory, server, rerun_every=2).suffer(ACCIDENTS[-1], 3 * SHARE, 5)
    assert count.runs == count.befores + count.afters
    assert count.runs >= 1


@pytest.mark.parametrize("command", ["first import", "index", "dedupe"])
def test_a_power_cut_leaves_before_or_after(server: Shim, memory: Path, command: str) -> None:
    count = Bench(command, memory, server, rerun_every=8).cut_power()
    assert count.runs > count.points
    assert count.befores > 0
    assert count.afters > 0


def test_after_a_power_cut_nothing_is_ordered_or_paid_twice(server: Shim, memory: Path) -> None:
    count = Bench("generate in batches", memory, server, rerun_every=8).cut_power(SHARE)
    assert count.points > 20
    assert count.runs > count.points
    assert count.befores > 0
    assert count.afters > 0


def test_every_damage_is_found_or_changes_no_answer(memory: Path) -> None:
    patient = Patient(memory)
    kinds = patient.kinds()
    assert len(kinds) >= 10
    for name, path in kinds.items():
        for tally in (patient.flip(path, 8), patient.cut(path, 3)):
            assert tally.damages == tally.found + tally.harmless, name
            # A card is for other programs; an answer in the ledger whose request's id flipped is
            # not found any more: these are `verify`'s to find.
            if tally.wrong:
                assert name in ("card", "ledger")
            if name != "ledger":
                assert tally.found == tally.damages, name


def test_racing_writers_lose_nothing_and_readers_see_whole_states(memory: Path) -> None:
    race_writers(memory / "writers", turns=3)
    assert race_readers(memory / "readers", readers=2, turns=3) >= 2
