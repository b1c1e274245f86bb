"""Words for sounds that `tiny` cannot make: `lexicon.txt`, our own thesaurus, for the text tower.

A caption may speak of anything. So that a cello is not heard as a random kind, and a truck is heard
as something like an engine, the text tower also reads captions of these concepts. A line holds
phrasings, separated by ";", and after "|" the procedural kinds that sound related, if any: those
attract a little, all other kinds repel. No clip belongs to a line.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from cache_store.spaces.tiny.vocabulary import items, read_lines

RELATED = 0.4  # how much a related kind counts, beside 1 for the concept itself

# For the kinds that are never heard in training: the trained kinds that sound related.
RELATIVES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "stream": ("rain", "water drops"),
        "owl": ("bird", "whistle"),
        "sheep": ("cow", "baby"),
        "woodpecker": ("knock", "typing"),
        "laughter": ("cough", "baby"),
        "motorcycle": ("engine", "chainsaw"),
        "drill": ("chainsaw", "vacuum cleaner"),
        "gong": ("bell",),
        "violin": ("flute", "organ"),
    }
)


def _parse(line: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    phrasings, _, kinds = line.partition("|")
    return items(phrasings), items(kinds)


# Each concept's phrasings, and its related kinds.
CONCEPTS: tuple[tuple[tuple[str, ...], tuple[str, ...]], ...] = tuple(
    _parse(line) for line in read_lines("lexicon.txt") if line
)
