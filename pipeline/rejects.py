"""What was refused in a cache: how much, why, of which register and concept, with an example each.

Reads the rejects and the captions once, a batch at a time. A caption counts under the main concept
that it was asked for. Files written before rejects noted their axes say no register.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache as remember
from typing import TYPE_CHECKING, Any

from cache_store.manifest import FileEntry

if TYPE_CHECKING:
    from cache_store.cache import Cache

_EXAMPLE = 60  # characters of an example
UNSAID = ""  # the register of what was not asked for, as of imported captions


@dataclass(frozen=True)
class Reason:
    """One reason for refusing.

    Attributes:
        name: As the rejects files have it.
        refused: Captions refused for it; requests, for those without an answer.
        share: Of all that was judged.
        example: The beginning of the first such caption, "" if there is no text.
    """

    name: str
    refused: int
    share: float
    example: str


@dataclass(frozen=True)
class Group:
    """Captions of one register, or of one concept.

    Attributes:
        name: Which.
        refused: How many were refused.
        judged: How many were judged.
    """

    name: str
    refused: int
    judged: int

    @property
    def share(self) -> float:
        """Refused, of those that were judged."""
        return self.refused / self.judged


@dataclass(frozen=True)
class Rejects:
    """What was refused.

    Attributes:
        refused: How many in all.
        judged: Refused and kept.
        reasons: Commonest first.
        registers: Those with the largest share refused first.
        concepts: The same, for main concepts.
    """

    refused: int
    judged: int
    reasons: tuple[Reason, ...]
    registers: tuple[Group, ...]
    concepts: tuple[Group, ...]


@dataclass
class _Tally:
    """Counts of some rows."""

    rows: int = 0
    registers: Counter[str] = field(default_factory=Counter)
    concepts: Counter[str] = field(default_factory=Counter)

    def add(self, row: dict[str, Any]) -> None:
        self.rows += 1
        if register := _register(row["axes"]):
            self.registers[register] += 1
        if row["concepts"]:
            self.concepts[row["concepts"][0]] += 1


def summarise_rejects(cache: Cache) -> Rejects:
    """Count what was refused in a cache."""
    kept, refused = _Tally(), _Tally()
    reasons: Counter[str] = Counter()
    examples: dict[str, str] = {}
    for row in _rows(cache, cache.manifest.rejects, ("reason", "caption", "concepts", "axes")):
        refused.add(row)
        reasons[row["reason"]] += 1
        if not examples.get(row["reason"]):
            examples[row["reason"]] = row["caption"][:_EXAMPLE]
    for row in _rows(cache, cache.manifest.texts, ("concepts", "axes")):
        kept.add(row)
    judged = kept.rows + refused.rows
    ordered = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    return Rejects(
        refused=refused.rows,
        judged=judged,
        reasons=tuple(
            Reason(name, count, count / judged, examples[name]) for name, count in ordered
        ),
        registers=_groups(refused.registers, kept.registers),
        concepts=_groups(refused.concepts, kept.concepts),
    )


def _groups(refused: Counter[str], kept: Counter[str]) -> tuple[Group, ...]:
    found = [Group(name, count, count + kept[name]) for name, count in refused.items()]
    # Of equal shares the one with more evidence; then by name, so that the order is one.
    return tuple(sorted(found, key=lambda one: (-one.share, -one.judged, one.name)))


def _rows(
    cache: Cache, files: Sequence[FileEntry], columns: Sequence[str]
) -> Iterator[dict[str, Any]]:
    from cache_store.shards import iter_batches, read_footer

    for entry in files:
        path = cache.path / entry.path
        there = set(read_footer(path).schema.names)
        some = [name for name in columns if name in there]
        lacking = {name: UNSAID for name in columns if name not in there}
        for batch in iter_batches(path, some):
            for row in batch.to_pylist():
                yield row | lacking


@remember
def _register(axes: str) -> str:
    try:
        found = json.loads(axes or "{}").get("register", UNSAID)
    except (ValueError, AttributeError):  # imported captions may have axes of any kind
        return UNSAID
    return found if isinstance(found, str) else UNSAID
