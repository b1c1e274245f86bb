"""Reads the concept list that ships with the package (`data/concepts.txt`, `data/places.txt`).

A line of the list names one sound and what a sentence needs to tell of it:

    [animals: yard park]                          group, and where its sounds are heard
    dog: bark, growl = puppy, hound @ street      a countable noun, verbs, other names, own places
    ~rain: fall, drum on a roof                   no article
    +footsteps: tap along                         plural
    snoring <@person>: snore                      whoever does it, where that is not the name
    jar <a jar/!someone>: pop, !open a jar        two kinds of subjects, each with its own verbs

`@person` stands for a list of people; a subject that begins with "+" is plural, one with "~" has no
article; subjects and verbs that begin with "!" go together; places after `@` replace the group's,
and those after `@+` are added to them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from prompts.errors import PromptError
from prompts.words import article

# Not a place: the sound changes with what is walked on, hit or fallen upon.
SURFACE = "surface"

_GROUP = re.compile(r"\[(?P<name>[a-z ]+)(?::(?P<places>[a-z ]*))?\]")
_ENTRY = re.compile(
    r"(?P<mark>[~+]?)(?P<name>[^<:=@]+?)\s*(?:<(?P<subjects>[^>]+)>)?\s*:"
    r"(?P<verbs>[^=@]*)(?:=(?P<synonyms>[^@]*))?(?:@(?P<places>.*))?"
)
_PEOPLE = ("a man", "a woman", "a person", "someone", "an old man", "a young woman")


@dataclass(frozen=True)
class Concept:
    """A sound source or sound event that captions can be asked for.

    Attributes:
        name: A short lower-case noun phrase ("church bell").
        group: What it belongs to ("alarms"), "" when unknown.
        actions: Pairs of who (a noun phrase with its article, "+" before a plural) and what (a verb
            phrase in the base form); empty for a user's own concepts.
        synonyms: Other words that name the same sound.
        places: Codes of the places where it is heard.
        surface: Whether a material can be named for it (what is walked on, hit, fallen upon).
    """

    name: str
    group: str = ""
    actions: tuple[tuple[str, str], ...] = ()
    synonyms: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    surface: bool = False


def data_text(name: str) -> str:
    """The text of a data file of this package."""
    return files("prompts").joinpath("data", name).read_text(encoding="utf-8")


def data_lines(name: str) -> Iterator[tuple[int, str]]:
    """Line numbers and lines of a data file, without comments and empty lines."""
    for number, line in enumerate(data_text(name).splitlines(), start=1):
        line = line.strip()
        if line and not line.startswith("#"):
            yield number, line


@cache
def builtin_concepts() -> tuple[Concept, ...]:
    """All concepts of the list that ships with the package, in file order."""
    return tuple(read_concepts("concepts.txt"))


@cache
def known_concepts() -> dict[str, Concept]:
    """The built-in concepts by name; read it only."""
    return {concept.name: concept for concept in builtin_concepts()}


@cache
def places() -> dict[str, tuple[str, ...]]:
    """Place codes and the phrases for them ("kitchen": "in a kitchen", ...); read it only."""
    table = {}
    for _, line in data_lines("places.txt"):
        code, _, phrases = line.partition(":")
        table[code.strip()] = _split(phrases)
    return table


def read_concepts(name: str) -> Iterator[Concept]:
    """Read a concept list in the syntax of this module.

    Raises:
        PromptError: For a line that is neither a group nor a concept.
    """
    group, group_places = "", ()  # type: tuple[str, tuple[str, ...]]
    for number, line in data_lines(name):
        if heading := _GROUP.fullmatch(line):
            group = heading["name"].strip()
            group_places = tuple((heading["places"] or "").split())
        elif entry := _ENTRY.fullmatch(line):
            yield _concept(entry, group, group_places)
        else:
            raise PromptError(f"{name}, line {number}: not a group and not a concept: {line!r}")


def _concept(entry: re.Match[str], group: str, group_places: tuple[str, ...]) -> Concept:
    name = entry["name"].strip()
    codes = (entry["places"] or "").strip()
    own = tuple(codes.removeprefix("+").split())
    all_codes = (*group_places, *own) if codes.startswith("+") or not own else own
    return Concept(
        name=name,
        group=group,
        actions=tuple(_actions(entry, name)),
        synonyms=_split(entry["synonyms"] or ""),
        places=tuple(code for code in all_codes if code != SURFACE),
        surface=SURFACE in all_codes,
    )


def _actions(entry: re.Match[str], name: str) -> Iterator[tuple[str, str]]:
    """Every subject with every verb of its kind: those with "!" among themselves, and the rest."""
    subjects = list(_subjects(entry["mark"], name, entry["subjects"]))
    verbs = _split(entry["verbs"])
    for subject in subjects:
        for verb in verbs:
            if subject.startswith("!") == verb.startswith("!"):
                yield subject.removeprefix("!"), verb.removeprefix("!")


def _subjects(mark: str, name: str, given: str | None) -> Iterator[str]:
    if given is None:
        yield {"~": name, "+": f"+{name}"}.get(mark, article(name))
        return
    for part in (piece.strip() for piece in given.split("/")):
        own = "!" if part.startswith("!") else ""
        part = part.removeprefix("!").removeprefix("~").strip()
        yield from (own + person for person in (_PEOPLE if part == "@person" else (part,)))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part for part in (piece.strip() for piece in text.split(",")) if part)
