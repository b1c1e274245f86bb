"""Judge answers, and hold what was accepted and refused until it is written.

Captions of an answer are judged in its order, and compared with all that the cache holds. Memory:
the rows that wait, and what the deduper needs.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pipeline.examine import Examined, Piece, examine
from pipeline.failures import NO_ANSWER
from pipeline.llm.source import Answered, Unanswered
from pipeline.refine import Deduper

if TYPE_CHECKING:
    from cache_store.manifest import FileEntry
    from cache_store.writer import CacheWriter

SHARD_ROWS = 16_384  # captions a file, and what a run that is not stopped publishes at once


@dataclass(frozen=True)
class Judged:
    """What became of an answer.

    Attributes:
        kept: Captions accepted.
        piece: The first caption that was not judged.
        done: Whether there is none.
        fault: What is wrong with the answer as a whole (`failures.fault_of`), "" if nothing.
    """

    kept: int
    piece: int
    done: bool
    fault: str


class Basket:
    """What one run accepts and refuses.

    Args:
        writer: The cache, open for writing.
        shard_rows: Captions a file, at most.

    Attributes:
        kept: Captions accepted.
        rejected: Captions refused, by reason.
        unanswered: Requests without an answer, by reason.
    """

    def __init__(self, writer: CacheWriter, shard_rows: int = SHARD_ROWS) -> None:
        self._writer = writer
        self._shard_rows = shard_rows
        self._captions: list[tuple[str, str, list[str], str, str, str]] = []
        self._rejects: list[tuple[str, str, str, list[str], str, str, str]] = []
        self.kept = 0
        self.rejected: Counter[str] = Counter()
        self.unanswered: Counter[str] = Counter()

    def judge(self, answered: Answered, *, piece: int = 0, most: int | None = None) -> Judged:
        """Judge the captions of an answer.

        Args:
            answered: The answer and what was asked.
            piece: The first caption to judge.
            most: Captions to keep; judging stops there. None for no limit.
        """
        found = answered.examined or examine(answered.request, answered.answer)
        pieces = found.pieces
        kept, place = 0, piece
        for place in range(piece, len(pieces)):
            if kept == most:
                break
            one = pieces[place]
            reason = one.reason or self._deduper.check(one.text)
            if reason:
                self._reject(reason, one, found)
                continue
            row = (one.id, one.text, one.concepts, one.axes, found.model, found.request_id)
            self._captions.append(row)
            kept += 1
        else:
            place = len(pieces)
        self.kept += kept
        return Judged(kept, place, place == len(pieces), found.fault)

    def miss(self, result: Unanswered) -> str:
        """Note a request without an answer among the refused; return the reason."""
        request, reason = result.request, f"{NO_ANSWER}: {result.reason}"
        names, axes = list(request.concepts), json.dumps(request.axes, sort_keys=True)
        self._rejects.append((reason, "", "", names, request.model, request.id, axes))
        self.unanswered[reason] += 1
        return reason

    @property
    def full(self) -> bool:
        """Whether a shard's worth of rows waits."""
        return max(len(self._captions), len(self._rejects)) >= self._shard_rows

    def write(self) -> dict[str, tuple[FileEntry, ...]]:
        """Commit what waits.

        Returns:
            All files of captions and of rejects that the next manifest shall name.

        Raises:
            StorageError: If it cannot be written; what was published before stays.
        """
        from cache_store.columns import text_table
        from cache_store.schema import captions_schema, rejects_schema

        current = self._writer.current
        captions = [
            self._writer.write_captions(text_table(rows, captions_schema()))
            for rows in _slices(self._captions, self._shard_rows)
        ]
        rejects = [
            self._writer.write_rejects(text_table(rows, rejects_schema()))
            for rows in _slices(self._rejects, self._shard_rows)
        ]
        return {
            "captions": _with(current.captions, captions),
            "rejects": _with(current.rejects, rejects),
        }

    def prepare(self) -> None:
        """Read what the cache holds, before answers wait to be judged."""
        _ = self._deduper

    def empty(self) -> None:
        """Forget what was written and is published now."""
        self._captions, self._rejects = [], []

    def refused(self) -> dict[str, int]:
        """What was refused, by reason: captions, and requests without an answer."""
        return dict(sorted((self.rejected + self.unanswered).items()))

    @cached_property
    def _deduper(self) -> Deduper:
        """Knows what the cache holds; not made unless needed, since it reads all of it."""
        deduper = Deduper()
        for text in _captions(self._writer):
            deduper.add(text)
        return deduper

    def _reject(self, reason: str, one: Piece, found: Examined) -> None:
        self.rejected[reason] += 1
        row = (reason, one.text, one.answer, one.concepts, found.model, found.request_id, one.axes)
        self._rejects.append(row)


def _captions(writer: CacheWriter) -> Iterator[str]:
    """The text of every caption that the cache holds, embedded or not, in order."""
    from cache_store.shards import read_table

    for entry in writer.current.texts:
        yield from read_table(writer.path / entry.path, ["caption"]).column("caption").to_pylist()


def _slices(rows: Sequence[Any], size: int) -> Iterator[Sequence[Any]]:
    for begin in range(0, len(rows), size):
        yield rows[begin : begin + size]


def _with(listed: Sequence[FileEntry], new: Sequence[FileEntry]) -> tuple[FileEntry, ...]:
    """The files of before and the new ones; equal content is one file, listed once."""
    paths = {entry.path for entry in listed}
    return (*listed, *(entry for entry in new if entry.path not in paths))
