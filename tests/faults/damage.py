"""Bits that flip and files that are cut: found by `verify`, and what opening and searching say.

For each damaged byte two questions: does `verify` find it; and what does a reader get who opens,
reads everything and searches without having asked `verify`: the right answer, an error of ours, or
another one in silence? Where `verify` finds nothing, the reader's answers must be the right ones.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cache_store.errors import LqtseError
from cache_store.index.build import BUILD_KINDS, build_index
from cache_store.layout import CARD_NAME
from cache_store.manifest import newest_manifest
from cache_store.verify import verify_cache
from cache_store.writer import open_writer
from tests.cache_store.builders import add_step
from tests.faults.verdict import Content, content

LEDGER = "ledger.sqlite"


@dataclass
class Tally:
    """What became of the damages of one kind of file.

    Attributes:
        damages: How many there were.
        found: `verify` names them.
        harmless: `verify` finds nothing, and every answer that can be had is as it was.
        books: Of the harmless, how many changed what the ledger says of attempts and costs.
        told: Without `verify`, a reader got an error of ours.
        right: Without `verify`, a reader got the right answers.
        wrong: Without `verify`, a reader got other answers in silence.
    """

    damages: int = 0
    found: int = 0
    harmless: int = 0
    books: int = 0
    told: int = 0
    right: int = 0
    wrong: int = 0


class Patient:
    """A small cache with every kind of file, to be damaged and mended again.

    Args:
        folder: Where to make it.
    """

    def __init__(self, folder: Path) -> None:
        self.cache = folder / "cache"
        add_step(self.cache, 40)
        add_step(self.cache, 25, first=40)
        with open_writer(self.cache) as writer:
            for kind in BUILD_KINDS:
                if kind != "auto":
                    build_index(writer, kind)
        make_ledger(self.cache)
        self.whole = reading(self.cache)
        self.books = ledger_rows(self.cache / LEDGER)

    def kinds(self) -> dict[str, Path]:
        """One file of each kind, by the name of the kind."""
        manifest = newest_manifest(self.cache)
        assert manifest is not None
        files = {
            "captions": self.cache / manifest.captions[0].path,
            "data": self.cache / manifest.data[0].path,
            "rejects": self.cache / manifest.rejects[0].path,
        }
        for index in manifest.indexes:
            for file in index.files:
                suffix = Path(file.path).suffix
                files[f"index {index.kind} ({suffix})"] = self.cache / file.path
        numbers = sorted((self.cache / "manifest").iterdir())
        files["manifest, newest"], files["manifest, older"] = numbers[-1], numbers[0]
        files["card"], files["ledger"] = self.cache / CARD_NAME, self.cache / LEDGER
        return files

    def flip(self, path: Path, count: int, seed: int = 0) -> Tally:
        """Flip that many bits of a file, one at a time."""
        data, tally = path.read_bytes(), Tally()
        generator = np.random.default_rng(seed)
        for bit in generator.choice(8 * len(data), min(count, 8 * len(data)), replace=False):
            changed = bytearray(data)
            changed[bit // 8] ^= 1 << int(bit % 8)
            with self._damaged(path, bytes(changed)):
                self._examine(path, tally, f"bit {bit} of {path.name}")
        return tally

    def cut(self, path: Path, count: int) -> Tally:
        """Cut a file at that many points, from nothing at all to one byte short.

        A ledger of no bytes is left out: to SQLite it is one without tables, as if it were new.
        """
        data, tally = path.read_bytes(), Tally()
        least = 1 if path.name == LEDGER else 0
        for size in np.unique(np.linspace(least, len(data) - 1, count).astype(int)):
            with self._damaged(path, data[:size]):
                self._examine(path, tally, f"{path.name} cut at {size}")
        return tally

    @contextmanager
    def _damaged(self, path: Path, data: bytes) -> Iterator[None]:
        # Another file of that name, and not other bytes in the one that may still be mapped.
        kept = path.with_name(path.name + ".kept")
        path.rename(kept)
        path.write_bytes(data)
        try:
            yield
        finally:
            kept.replace(path)

    def _examine(self, path: Path, tally: Tally, where: str) -> None:
        kept = path.name + ".kept"
        tally.damages += 1
        found = [text for text in complaints(self.cache) if kept not in text]
        answer: Content | None
        try:
            answer = reading(self.cache)
        except LqtseError:
            answer = None
        except Exception as error:
            raise AssertionError(f"{where}: not an error of ours: {error!r}") from error
        if answer is None:
            tally.told += 1
        elif answer == self.whole:
            tally.right += 1
        else:
            tally.wrong += 1
        if found:
            tally.found += 1
        else:
            assert answer == self.whole, f"{where}: verify finds nothing, and an answer changed"
            tally.harmless += 1
            tally.books += ledger_rows(self.cache / LEDGER) != self.books


def complaints(cache: Path) -> list[str]:
    """Everything that `lqtse-cache verify` says is wrong or strange."""
    from pipeline.ledger_check import check_ledger

    report = verify_cache(cache)
    faults = [*report.faults, *check_ledger(cache)]
    return [*(f"{fault.path}: {fault.what}" for fault in faults), *report.notes]


def reading(cache: Path) -> Content | None:
    """All that a reader can get: rows, vectors, hits of every index, the card, the ledger."""
    found = content(cache)
    if found is not None:
        found["card"] = (cache / CARD_NAME).read_bytes()
        found["ledger"] = read_ledger(cache)
    return found


def make_ledger(cache: Path) -> None:
    """A ledger with answers, attempts and failures, closed and without a journal."""
    from pipeline.ledger import open_ledger
    from pipeline.llm.amount import Amount
    from pipeline.llm.base import Answer

    with open_ledger(cache, "plan") as ledger:
        for number in range(40):
            text = f'["a caption numbered {number}", "and another one, {number}"]'
            (attempt,) = ledger.begin([(f"request-{number}", Amount(0.01, 50))])
            answer = Answer(text, "stop", 20, 30, "test-model")
            ledger.store([(attempt, f"request-{number}", answer, 0.001)])
        (attempt,) = ledger.begin([("request-40", Amount(0.01, 50))])
        ledger.fail(attempt, "timeout")
        ledger.give_up([("request-40", "timeout")])
    for name in (f"{LEDGER}-wal", f"{LEDGER}-shm"):
        (cache / name).unlink(missing_ok=True)


def read_ledger(cache: Path) -> Any:
    """The answers that a rerun would take from the ledger; on a copy, since reading may write."""
    from pipeline.ledger import open_ledger

    copy = cache.parent / "ledger-copy"
    copy.mkdir(exist_ok=True)
    shutil.copy(cache / LEDGER, copy / LEDGER)
    try:
        with open_ledger(copy, "plan") as ledger:
            answers = ledger.get([f"request-{number}" for number in range(41)])
            return sorted((key, str(answer)) for key, answer in answers.items())
    finally:
        shutil.rmtree(copy)


def ledger_rows(path: Path) -> list[tuple[Any, ...]]:
    """Every row of every table, for who wants to know what else a flipped bit changed."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro&immutable=1", uri=True)) as connection:
        connection.text_factory = bytes  # a flipped bit need not leave a text that can be decoded
        tables = ("answers", "attempts", "failed", "given_up")
        return [row for name in tables for row in connection.execute(f"SELECT * FROM {name}")]
