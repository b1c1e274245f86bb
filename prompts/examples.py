"""The pool of example captions, written by us, from which every request draws a few of its own.

A small model copies what it is shown. So the pool is large, the draw differs from request to
request, an example never shares a sound with what is asked, and `Request.examples` keeps what was
shown, so that a copy is found.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np

from prompts.audible import verb_stems
from prompts.axes import REGISTERS
from prompts.details import DETAILED, of_caption
from prompts.errors import PromptError
from prompts.lexicon import data_lines
from prompts.words import distinct_stems, stem, word_set, words

# Verbs by their form, but not in these captions ("low notes", "a propeller plane").
_NO_HINTS = word_set("low plane loud close light")


@dataclass(frozen=True)
class Example:
    """One caption of the pool.

    Attributes:
        register: One of `axes.REGISTERS`.
        concepts: Names of its sounds, the main one first.
        caption: The text.
    """

    register: str
    concepts: tuple[str, ...]
    caption: str

    @cached_property
    def stems(self) -> frozenset[str]:
        """The stems of its sounds and of its caption."""
        return frozenset[str]().union(*map(distinct_stems, (*self.concepts, self.caption)))

    @cached_property
    def key(self) -> tuple[str, ...]:
        """The words that stand before the caption in a list: sounds, how made, where and how."""
        known = (*self.concepts, *filter(None, (self.hint,)))
        told = of_caption(self.caption, known) if self.register in DETAILED else ()
        return (*known, *told)

    @cached_property
    def hint(self) -> str:
        """The word of the caption that tells how the sound is made, "" if none stands out."""
        own = {stem(word) for name in self.concepts for word in words(name)}
        for word in words(self.caption):
            root = stem(word)
            if root in verb_stems() and root not in own and word not in _NO_HINTS:
                return word
        return ""


@cache
def pool() -> tuple[Example, ...]:
    """All examples, in file order; each line is `register | sounds | caption`."""
    rows = []
    for number, line in data_lines("examples.txt"):
        parts = [part.strip() for part in line.split("|")]
        if len(parts) != 3 or parts[0] not in REGISTERS or not all(parts):
            raise PromptError(f"examples.txt, line {number}: not `register | sounds | caption`")
        register, sounds, caption = parts
        rows.append(Example(register, tuple(name.strip() for name in sounds.split(",")), caption))
    return tuple(rows)


@cache
def _rows(register: str, sources: int) -> tuple[int, ...]:
    """Rows of the pool in a register, with one source or with several."""
    return tuple(
        row
        for row, example in enumerate(pool())
        if example.register == register and (len(example.concepts) > 1) == (sources > 1)
    )


def draw_examples(
    rng: np.random.Generator,
    count: int,
    *,
    register: str,
    sources: int,
    avoid: Collection[str] = (),
) -> tuple[Example, ...]:
    """Draw different examples of one register, no two of the same sound.

    Args:
        rng: Where the order comes from.
        count: How many; fewer come back only when the pool has no more.
        register: Their register.
        sources: 1 for captions of one sound, more for captions of several.
        avoid: Names of sounds that no example may share a word with.
    """
    rows = _rows(register, sources)
    taken = set[str]().union(*map(distinct_stems, avoid))
    chosen: list[Example] = []
    for place in rng.permutation(len(rows)):
        if len(chosen) == count:
            break
        example = pool()[rows[place]]
        if not taken.isdisjoint(example.stems):
            continue
        chosen.append(example)
        taken.update(*map(distinct_stems, example.concepts))
    return tuple(chosen)
