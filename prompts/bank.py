"""The concept bank: which sounds captions are asked for, and in which order.

Order is by shuffled rounds: every concept once a round, each round in an order of its own, so that
a rare concept is asked for as often as a common one. (A bank may repeat some of its concepts within
a round, where it is known that more is needed of them.) The concept at position i follows from the
seed and i alone, in constant time but for the shuffle of its round.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from operator import attrgetter

import numpy as np

from prompts.bank_texts import Row, parse_csv, parse_lines, parse_ontology
from prompts.errors import PromptError
from prompts.lexicon import Concept, builtin_concepts, known_concepts
from prompts.words import distinct_stems

__all__ = ["Concept", "ConceptBank", "clean_name"]

_ROUND = 1  # purpose number of the shuffles in the seed sequence
_MAX_NAME = 80  # characters; a longer "concept" is a caption or a broken file
_plain = attrgetter(*(part.name for part in fields(Concept)))  # `astuple` copies every text


@dataclass(frozen=True)
class ConceptBank:
    """An ordered set of concepts.

    Args:
        concepts: At least one concept; names must differ.
        repeats: How often each concept comes in a round, at least once; () for once each.

    Raises:
        PromptError: For an empty bank, a name that is there twice, or repeats that do not fit.
    """

    concepts: tuple[Concept, ...]
    repeats: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not self.concepts:
            raise PromptError("no concepts: expected at least one, found none")
        if len({concept.name for concept in self.concepts}) < len(self.concepts):
            raise PromptError("concept names must differ, found one twice")
        if self.repeats and (len(self.repeats) != len(self.concepts) or min(self.repeats) < 1):
            raise PromptError(
                f"repeats must be at least 1 for each of {len(self.concepts)} concepts, "
                f"got {self.repeats}"
            )

    @classmethod
    def builtin(cls) -> ConceptBank:
        """Our own list of everyday sounds."""
        return cls(builtin_concepts())

    @classmethod
    def from_names(cls, names: Iterable[str], *, where: str = "the given names") -> ConceptBank:
        """A bank from plain names, for example a column of a data set.

        Names are cleaned (`clean_name`), repeated ones are kept once, and a name of the built-in
        list brings its verbs, synonyms and places along.
        """
        return cls._collect(((name, "", ()) for name in names), where)

    @classmethod
    def from_lines(cls, text: str, *, where: str = "the text") -> ConceptBank:
        """A bank from text lines: `church bell`, or `alarms: siren, fire alarm` for a group.

        Empty lines and lines that begin with "#" are skipped.
        """
        return cls._collect(parse_lines(text), where)

    @classmethod
    def from_csv(cls, text: str, *, column: str | None = None, where: str = "CSV") -> ConceptBank:
        """A bank from a CSV with a header.

        Args:
            text: The text of the file.
            column: The column to read; by default the first of `concept`, `display_name`, `label`,
                `name`, `category`, `caption` that is there, else the first column. A column
                `group` is used if there is one; what follows a comma in AudioSet's `display_name`
                is a synonym.
            where: What to call the text in an error.

        Raises:
            PromptError: If the column is not there, or nothing is in it.
        """
        return cls._collect(parse_csv(text, column, where), where)

    @classmethod
    def from_ontology(cls, text: str, *, where: str = "the ontology") -> ConceptBank:
        """A bank from the JSON of the AudioSet ontology; abstract and blacklisted nodes are left
        out. "Whoosh, swoosh, swish" becomes "whoosh" with two synonyms.

        Raises:
            PromptError: If the text is not that JSON.
        """
        return cls._collect(parse_ontology(text, where), where)

    @classmethod
    def _collect(cls, rows: Iterable[Row], where: str) -> ConceptBank:
        found: dict[str, Concept] = {}
        for raw, group, synonyms in rows:
            if not isinstance(raw, str):
                raise PromptError(f"concepts must be text, found {type(raw).__name__} in {where}")
            name = clean_name(raw)
            if not name:
                continue
            if len(name) > _MAX_NAME:
                raise PromptError(
                    f"a concept must be a short noun phrase of at most {_MAX_NAME} characters, "
                    f"found {len(name)} in {where}: {name[:40]!r}..."
                )
            known = known_concepts().get(name, Concept(name))
            own = tuple(clean_name(synonym) for synonym in synonyms)
            found.setdefault(
                name,
                replace(
                    known,
                    group=clean_name(group) or known.group,
                    synonyms=tuple(dict.fromkeys((*known.synonyms, *filter(None, own)))),
                ),
            )
        if not found:
            raise PromptError(f"no concepts in {where}: expected one a line or row, found none")
        return cls(tuple(found.values()))

    def __len__(self) -> int:
        return len(self.concepts)

    def __iter__(self) -> Iterator[Concept]:
        return iter(self.concepts)

    @cached_property
    def hash(self) -> str:
        """Hash (32 hex) of all that shapes requests and their judgement: concepts in order."""
        rows: list[object] = [_plain(concept) for concept in self.concepts]
        if self.repeats:
            rows = [rows, self.repeats]
        return hashlib.sha256(json.dumps(rows, ensure_ascii=False).encode()).hexdigest()[:32]

    def groups(self) -> dict[str, int]:
        """Number of concepts in each group, in the order of the bank."""
        counts: dict[str, int] = {}
        for concept in self.concepts:
            counts[concept.group] = counts.get(concept.group, 0) + 1
        return counts

    def get(self, name: str) -> Concept | None:
        """The concept of that name."""
        return self._by_name.get(name)

    def draw(self, seed: int, index: int) -> Concept:
        """The concept at a position of the endless sequence of shuffled rounds.

        Args:
            seed: Seed of the sequence.
            index: Position, from 0.
        """
        return self.visit(seed, index)[0]

    def visit(self, seed: int, index: int) -> tuple[Concept, int]:
        """The concept at a position, and how often it came before that position.

        Args:
            seed: Seed of the sequence.
            index: Position, from 0.
        """
        number, place = divmod(index, len(self._deck))
        order = _shuffled(seed, number, len(self._deck))
        row = self._deck[order[place]]
        if not self.repeats:
            return self.concepts[row], number
        earlier = sum(self._deck[other] == row for other in order[:place])
        return self.concepts[row], number * self.repeats[row] + earlier

    def companions(
        self, main: Concept, count: int, rng: np.random.Generator
    ) -> tuple[Concept, ...]:
        """Other concepts that can be heard at the same place as `main`.

        Concepts that share a word with those already chosen ("bell", "church bell") are passed
        over. Fewer than `count` come back where the bank has no more.
        """
        if count < 1:
            return ()  # before `rng` is touched, so that the bank's size does not reach the caller
        candidates = self._neighbours(main)
        chosen: list[Concept] = []
        taken = set(distinct_stems(main.name))
        for row in rng.permutation(len(candidates))[: 16 * (count + 1)]:
            if len(chosen) == count:
                break
            other = self.concepts[candidates[row]]
            own = distinct_stems(other.name)
            if own.isdisjoint(taken):
                chosen.append(other)
                taken |= own
        return tuple(chosen)

    @cached_property
    def _deck(self) -> tuple[int, ...]:
        """The rows of one round, before they are shuffled."""
        counts = self.repeats or (1,) * len(self)
        return tuple(row for row, count in enumerate(counts) for _ in range(count))

    @cached_property
    def _by_name(self) -> dict[str, Concept]:
        return {concept.name: concept for concept in self.concepts}

    @cached_property
    def _rows_by_place(self) -> dict[str, frozenset[int]]:
        rows: dict[str, set[int]] = {}
        for row, concept in enumerate(self.concepts):
            for place in concept.places:
                rows.setdefault(place, set()).add(row)
        return {place: frozenset(members) for place, members in rows.items()}

    @cached_property
    def _neighbour_rows(self) -> dict[tuple[str, ...], list[int]]:
        return {}

    def _neighbours(self, main: Concept) -> list[int]:
        known = self._neighbour_rows.get(main.places)
        if known is None:
            shared = [self._rows_by_place[p] for p in main.places if p in self._rows_by_place]
            rows = frozenset[int]().union(*shared)
            known = sorted(rows) if len(rows) > 1 else list(range(len(self)))
            self._neighbour_rows[main.places] = known
        return known


def clean_name(text: str) -> str:
    """A concept's name as it is kept: NFC, lower case, single spaces, no quotes or underscores."""
    text = unicodedata.normalize("NFC", text).replace("_", " ").lower()
    text = "".join(" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    return " ".join(text.split()).strip("\"'`.,;: ")


@lru_cache(maxsize=16)
def _shuffled(seed: int, number: int, size: int) -> tuple[int, ...]:
    order = np.random.default_rng([seed, _ROUND, number]).permutation(size)
    return tuple(int(row) for row in order)
