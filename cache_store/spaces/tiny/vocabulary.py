"""What people call the procedural kinds of sound: `vocabulary.txt`, in our own words.

An entry names things (what sounds, with its article), doings (gerund/verb, said of any of the
things), tags (what else one might call it; the first one names the kind alone) and whole phrases
that fit neither. Things are singular or mass nouns, so that the verbs agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType


@dataclass(frozen=True)
class Words:
    """What people call one kind: see the module's docstring."""

    things: tuple[str, ...]
    doings: tuple[tuple[str, str], ...]
    tags: tuple[str, ...]
    wholes: tuple[str, ...]


def read_lines(name: str) -> list[str]:
    """The lines of a text file of this package, without comments."""
    text = Path(__file__).with_name(name).read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if not line.startswith("#")]


def items(text: str) -> tuple[str, ...]:
    """The parts of a list that ";" separates."""
    return tuple(item.strip() for item in text.split(";") if item.strip())


def _parse(paragraph: str) -> tuple[str, Words]:
    field = dict(line.split(": ", 1) for line in paragraph.splitlines())
    pairs = (doing.split("/") for doing in items(field["doings"]))
    words = Words(
        things=items(field["things"]),
        doings=tuple((gerund, verb) for gerund, verb in pairs),
        tags=items(field["tags"]),
        wholes=items(field["wholes"]),
    )
    return field["kind"], words


WORDS: Mapping[str, Words] = MappingProxyType(
    dict(
        _parse(paragraph)
        for paragraph in "\n".join(read_lines("vocabulary.txt")).strip().split("\n\n")
    )
)
