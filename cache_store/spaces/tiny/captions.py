"""Captions of the procedural kinds: many phrasings from our own words.

A caption is composed of what sounds, what it does, and optionally how, where and how loud, in one
of several registers: a bare label, a list of tags, a noun phrase, a sentence, a spoken query. Pure
functions of the generator that they are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from cache_store.spaces.tiny.vocabulary import WORDS

T = TypeVar("T")

_HOW = (
    "loudly", "softly", "quietly", "in the distance", "nearby", "far away", "close by",
    "in the background", "in the foreground", "slowly", "quickly", "again and again", "repeatedly",
    "continuously", "suddenly", "for a while", "at night", "in the morning", "in the afternoon",
    "steadily", "several times", "once", "with pauses", "faintly", "very loudly", "at a distance",
)  # fmt: skip
_WHERE = (
    "outside", "in a room", "in a large hall", "in the street", "in a park", "in the garden",
    "in a quiet place", "next door", "in a house", "in the kitchen", "in the yard", "outdoors",
    "indoors", "on a recording", "near the microphone", "in an empty room", "in a village",
    "in the city", "in a courtyard", "down the road", "behind a wall", "in a building",
    "on the left", "upstairs", "in the countryside", "in a small room", "with some echo",
)  # fmt: skip
_FRAMES = (
    "the sound of {}", "this is a sound of {}", "a recording of {}", "sound of {}",
    "{} can be heard", "we hear {}", "you can hear {}", "noise of {}", "audio of {}",
    "a field recording of {}", "the noise of {}", "sounds like {}", "this is the sound of {}",
    "there is {}", "{} in this clip", "a sample of {}",
)  # fmt: skip
_QUERIES = (
    "extract {}", "please isolate {}", "I want to hear only {}", "give me {}", "separate {}",
    "can you pull out {}", "keep only {}", "remove everything but {}", "find {}", "isolate {}",
    "let me hear {}", "I need {} on its own", "just {} please", "only {}",
)  # fmt: skip
_JOINS = (
    "{} and {}", "{} while {}", "{} with {} in the background", "{}, {}", "{} over {}",
    "{} as {}", "{} mixed with {}", "{} along with {}", "{} together with {}", "{}; {}",
)  # fmt: skip
_SEQUENCES = ("{} then {}", "{} followed by {}", "{}, and then {}", "{} before {}", "{}, later {}")


def _pick(rng: np.random.Generator, items: Sequence[T]) -> T:
    return items[int(rng.integers(len(items)))]


def _bare(thing: str) -> str:
    """A thing without its article: "a dog" becomes "dog"."""
    first, _, rest = thing.partition(" ")
    return rest if first in ("a", "an", "the") and rest else thing


def _phrase(kind: str, rng: np.random.Generator) -> str:
    """A noun phrase: "a dog barking", "barking dog", "puppy", "dogs barking"."""
    words = WORDS[kind]
    if rng.random() < 0.12 and words.wholes:
        return _pick(rng, words.wholes)
    thing, (gerund, _) = _pick(rng, words.things), _pick(rng, words.doings)
    if rng.random() < 0.3:
        thing = _bare(thing)
    if rng.random() < 0.1 and " " not in gerund:
        return f"{gerund} {_bare(thing)}"
    return f"{thing} {gerund}"


def _sentence(kind: str, rng: np.random.Generator) -> str:
    """A clause with a verb: "a dog barks"."""
    words = WORDS[kind]
    thing, (gerund, verb) = _pick(rng, words.things), _pick(rng, words.doings)
    return f"{thing} is {gerund}" if rng.random() < 0.3 else f"{thing} {verb}"


def _label(kind: str, rng: np.random.Generator) -> str:
    draw = rng.random()
    words = WORDS[kind]
    if draw < 0.4:
        return kind
    if draw < 0.7:
        return words.tags[0] if draw < 0.5 else _pick(rng, words.tags[:3])
    return _pick(rng, words.wholes)


def core(kind: str, rng: np.random.Generator) -> str:
    """The shortest full statement of a kind, fit to be joined with others."""
    return _sentence(kind, rng) if rng.random() < 0.5 else _phrase(kind, rng)


def caption(kind: str, rng: np.random.Generator) -> str:
    """One caption of a kind, in a random register."""
    register = rng.random()
    if register < 0.15:
        return _cased(_label(kind, rng), rng)
    if register < 0.27:
        tags = WORDS[kind].tags
        chosen = rng.permutation(len(tags))[: int(rng.integers(2, 5))]
        # The first tag names the kind; the others alone might name several.
        return ", ".join(dict.fromkeys([tags[0], *(tags[i] for i in sorted(chosen))]))
    if register < 0.55:
        text = _phrase(kind, rng)
        if rng.random() < 0.4:
            text = _pick(rng, _FRAMES).format(text)
    elif register < 0.9:
        text = _sentence(kind, rng)
    else:
        return _cased(_pick(rng, _QUERIES).format(_phrase(kind, rng)), rng)
    if rng.random() < 0.35:
        text += " " + _pick(rng, _HOW)
    if rng.random() < 0.35:
        text += " " + _pick(rng, _WHERE)
    return _cased(text, rng)


def framed(phrasings: Sequence[str], rng: np.random.Generator) -> str:
    """One caption from ready phrasings of a concept, in a random frame."""
    text = _pick(rng, phrasings)
    draw = rng.random()
    if draw < 0.2:
        text = _pick(rng, _FRAMES).format(text)
    elif draw < 0.3:
        text = _pick(rng, _QUERIES).format(text)
    elif draw < 0.4 and len(phrasings) > 1:
        text = f"{text}, {_pick(rng, phrasings)}"
    elif draw < 0.5:
        text += " " + _pick(rng, _HOW)
    elif draw < 0.6:
        text += " " + _pick(rng, _WHERE)
    return _cased(text, rng)


def mixed_caption(kinds: Sequence[str], rng: np.random.Generator, *, sequence: bool = False) -> str:
    """One caption of several kinds that sound together, or one after the other."""
    if len(kinds) == 1:
        return caption(kinds[0], rng)
    if not sequence and rng.random() < 0.2:
        return ", ".join(WORDS[kind].tags[0] for kind in kinds)
    text = core(kinds[0], rng)
    for kind in kinds[1:]:
        text = _pick(rng, _SEQUENCES if sequence else _JOINS).format(text, core(kind, rng))
    return _cased(text, rng)


def _cased(text: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.4:
        text = text[0].upper() + text[1:]
    return text + "." if rng.random() < 0.25 else text


def phrases(kind: str) -> tuple[str, ...]:
    """All plain phrases of a kind, without repeats: sentences first, then labels and tags.

    No phrase names the kind by a loose tag alone ("animal").
    """
    words = WORDS[kind]
    plain = [f"{thing} {gerund}" for gerund, _ in words.doings for thing in words.things]
    clauses = [f"{thing} {verb}" for _, verb in words.doings for thing in words.things]
    tags = f"{words.tags[0]}, {words.tags[1]}"
    return tuple(dict.fromkeys([plain[0], clauses[0], kind, *words.wholes, tags, *plain, *clauses]))
