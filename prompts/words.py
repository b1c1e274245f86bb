"""English words as this package needs them: cutting, stemming, inflecting.

The stemmer is light on purpose: it has to bring "barks", "barking" and "bark" together, and both
sides of a comparison go through it, so a stem need not be a word. The inflection covers the verbs
of the concept list, which are regular ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*|\d+", re.UNICODE)
_VOWELS = frozenset("aeiouy")

_IRREGULAR = {
    "blew": "blow",
    "blown": "blow",
    "broke": "break",
    "broken": "break",
    "children": "child",
    "feet": "foot",
    "fell": "fall",
    "geese": "goose",
    "going": "go",
    "hooves": "hoof",
    "knives": "knife",
    "leaves": "leaf",
    "men": "man",
    "mimicking": "mimic",
    "mice": "mouse",
    "oxen": "ox",
    "rang": "ring",
    "rung": "ring",
    "sang": "sing",
    "sung": "sing",
    "shook": "shake",
    "skis": "ski",
    "struck": "strike",
    "swept": "sweep",
    "teeth": "tooth",
    "tore": "tear",
    "torn": "tear",
    "wept": "weep",
    "wolves": "wolf",
    "women": "woman",
}

# Verbs of two syllables, stressed on the second, that end like "wrap".
_DOUBLES = frozenset({"unwrap"})
# What follows "and" in a verb phrase and is no verb: "again and again", "back and forth".
_NOT_VERBS = frozenset({"again", "forth", "faster", "off", "round"})


def word_set(text: str) -> frozenset[str]:
    """The set of the words of a list that is written as one text."""
    return frozenset(text.split())


def words(text: str) -> list[str]:
    """The words of a text in lower case, without punctuation: letters, or runs of digits."""
    if text.isascii():  # nearly every text, and its lower case has the same words
        return _WORD.findall(text.lower())
    return [word.lower().replace("’", "'") for word in _WORD.findall(text)]


@lru_cache(maxsize=1 << 14)
def distinct_words(text: str) -> frozenset[str]:
    """The set of the words of a text that comes back often: a concept's name, an example."""
    return frozenset(words(text))


@lru_cache(maxsize=1 << 16)
def stem(word: str) -> str:
    """Bring the inflected forms of a word together ("barks", "barking", "barked" to "bark")."""
    word = word.lower().removesuffix("'s").replace("'", "")
    word = _IRREGULAR.get(word, word)
    if len(word) <= 2:
        return word
    for ending in ("ing", "ed"):
        rest = word.removesuffix(ending)
        if rest != word and not word.endswith("eed") and len(rest) > 2 and _VOWELS & set(rest):
            word = rest
            break
    else:
        if word.endswith("ies") and len(word) > 4:
            word = word[:-3] + "y"
        elif word.endswith(("ses", "xes", "zes", "ches", "shes")):
            word = word[:-2]
        elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
            word = word[:-1]
    if len(word) > 2:
        word = word.removesuffix("e")
    if len(word) > 2 and word.endswith("y") and word[-2] not in _VOWELS:
        word = word[:-1] + "i"
    if len(word) > 2 and word[-1] == word[-2] and word[-1] not in _VOWELS:
        word = word[:-1]
    return word


def stems(text: str) -> list[str]:
    """The stems of all words of a text, in order."""
    return [stem(word) for word in words(text)]


@lru_cache(maxsize=1 << 14)
def distinct_stems(text: str) -> frozenset[str]:
    """The set of the stems of a text that comes back often: a concept's name, an example."""
    return frozenset(stems(text))


def agent_root(stemmed: str) -> str:
    """Take "-er" and "-or" off a stem, so that "grinder" meets "grinding"."""
    if len(stemmed) > 5 and stemmed.endswith(("er", "or")):
        return stem(stemmed[:-2])
    return stemmed


def third_person(phrase: str) -> str:
    """Inflect a verb phrase: "bark" to "barks", "crackle and pop" to "crackles and pops"."""
    return _inflect(phrase, _with_s)


def gerund(phrase: str) -> str:
    """Inflect a verb phrase: "bark" to "barking", "crackle and pop" to "crackling and popping"."""
    return _inflect(phrase, _with_ing)


def _inflect(phrase: str, ending: Callable[[str], str]) -> str:
    """Inflect the first word, and every word after "and" or "then"."""
    parts = phrase.split()
    return " ".join(
        ending(part)
        if i == 0 or (parts[i - 1] in ("and", "then") and part not in _NOT_VERBS)
        else part
        for i, part in enumerate(parts)
    )


def _with_s(verb: str) -> str:
    if verb.endswith(("s", "x", "z", "ch", "sh", "o")) and not verb.endswith("oo"):
        return verb + "es"
    if verb.endswith("y") and verb[-2:-1] not in _VOWELS:
        return verb[:-1] + "ies"
    return verb + "s"


def _with_ing(verb: str) -> str:
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith(("ee", "oe", "ye", "inge")):
        return verb[:-1] + "ing"
    if verb.endswith("ic"):
        return verb + "king"
    if _doubles(verb):
        return verb + verb[-1] + "ing"
    return verb + "ing"


def _doubles(verb: str) -> bool:
    """Whether the last consonant is doubled before "-ing": "hum", "drip", not "roar", "blow"."""
    if verb in _DOUBLES:
        return True
    if len(verb) < 3:
        return False
    one_syllable = len(re.findall(r"[aeiouy]+", verb)) == 1
    closed = verb[-1] not in "aeiouwxy" and verb[-2] in "aeiou" and verb[-3] not in "aeiou"
    return one_syllable and closed


def article(noun: str) -> str:
    """The indefinite article with its noun: "a dog", "an engine", "an hour bell"."""
    vowel = noun[:1] in "aeio" or (noun[:1] == "u" and not noun.startswith(("uni", "use", "uk")))
    if noun.startswith(("hour", "mp3", "x-ray")):
        vowel = True
    if noun.startswith(("one", "eu")):
        vowel = False
    return f"{'an' if vowel else 'a'} {noun}"
