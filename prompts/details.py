"""The words that the key of a list gives beside the sound: where, how, how far.

A small model that continues `kettle, whistles, stove: a kettle whistles on a stove` learns from the
lines above that every word of the key comes back in the caption. So the axes of a request become
words of its key ("in a stone church" is `stone church`), and the words of an example are read from
its caption. What is left to the model, are the words between them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from prompts.axes import LONG, PHRASE, SENTENCE
from prompts.words import stems, word_set, words

DETAILED = (PHRASE, SENTENCE)  # registers whose keys tell more than the sound
TOLD = ("place", "distance", "loudness", "manner", "material")  # axes that can be words of a key

_PREPOSITIONS = word_set(
    "across against along around at behind beneath beside between by down from in inside into near "
    "off on onto out outside over past through to under up with"
)
_ARTICLES = word_set("a an the some")
_LINKS = word_set("and as then while until before after but that which who followed")
# Adverbs that no ending tells.
_HOW = word_set("again away briefly loudly nearby once outdoors outside overhead softly twice")


def told(
    axes: Mapping[str, str], rng: np.random.Generator
) -> tuple[dict[str, str], tuple[str, ...]]:
    """Choose what the key of a request tells: one thing, two in a long caption.

    Args:
        axes: What was drawn for the request.
        rng: Where the choice comes from; always the same count of numbers is taken.

    Returns:
        The axes that are told, and their words for the key.
    """
    most = 2 if axes.get("length") == LONG else 1
    names = [TOLD[place] for place in rng.permutation(len(TOLD)) if axes.get(TOLD[place])][:most]
    chosen = {name: axes[name] for name in TOLD if name in names}
    return chosen, tuple(bare(value) for value in chosen.values())


def bare(value: str) -> str:
    """The words of a place or a manner without preposition and article: "in a barn" is "barn"."""
    parts = value.split()
    if len(parts) > 1 and parts[0] in _PREPOSITIONS and parts[1] not in _LINKS:
        parts = parts[1:]
        if len(parts) > 1 and parts[0] in _ARTICLES:
            parts = parts[1:]
    return " ".join(parts)


def of_caption(caption: str, own: Sequence[str]) -> tuple[str, ...]:
    """The words that a key would give for a caption: adverbs, and what follows the last
    preposition.

    Args:
        caption: One clause; of several, nothing is read but adverbs.
        own: Words that the key has already: its sounds, and how they are made.
    """
    said = words(caption)
    taken = {stem for text in own for stem in stems(text)}
    found = [word for word in said if word in _HOW or (word.endswith("ly") and len(word) > 4)]
    last = max((i for i, word in enumerate(said) if word in _PREPOSITIONS), default=len(said))
    tail = bare(" ".join(said[last:]))
    alone = not _LINKS & set(said) and not set(found) & set(tail.split())
    if tail and last and alone and not taken & set(stems(tail)):
        found.append(tail)
    return tuple(found[:2])
