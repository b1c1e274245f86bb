"""Whether a caption says a word twice in a breath ("cow cow"), or a tag twice.

People repeat themselves too, so what is refused was measured on captions that they wrote: 61 of the
52,313 of AudioCaps.
"""

from __future__ import annotations

import re

from prompts.words import word_set, words

# Between two equal words, one of these makes sense of the second: "metal against metal".
_JOINS = word_set(
    "after against and another are as at before but followed from is on over then to "
    "until when while with"
)
_SAID_AGAIN = _JOINS | word_set(
    "a again an by each for her high his in into it its low more no of off one or out some someone "
    "something that the their there this through up very which"
)
# ... but nothing is at itself, or comes from itself: of 52,313 captions by people, none says so.
_WHERE = word_set("at from")
_ARTICLES = word_set("a an the")
_REPEAT_GAP = 3  # most words between the two; farther apart, people repeat themselves as well
_CLAUSES = re.compile(r"[,;:.!?]")


def is_repetitive(text: str, *, tags: bool = False) -> bool:
    """Whether a word, or a tag, comes back too soon.

    Args:
        text: A caption, lower case.
        tags: Whether it is a list of tags, none of which may come twice.
    """
    clauses = _CLAUSES.split(text)
    if tags:
        listed = [" ".join(words(clause)) for clause in clauses if clause.strip()]
        if len(set(listed)) < len(listed):
            return True
    return any(map(_says_twice, map(words, clauses)))


def _says_twice(said: list[str]) -> bool:
    """Whether a word comes back too soon, with nothing between that makes sense of it.

    "a drill drills" is two words, and "tick, tick, tick" is three clauses.
    """
    if len(set(said)) == len(said):
        return False
    for place, word in enumerate(said):
        nearby = said[place + 1 : place + 2 + _REPEAT_GAP]
        if word in nearby and word not in _SAID_AGAIN:
            between = nearby[: nearby.index(word)]
            if not _JOINS & set(between) or _at_itself(between):
                return True
    return False


def _at_itself(between: list[str]) -> bool:
    """Whether what stands between two equal words says where: "a market at the market"."""
    return bool(between) and between[0] in _WHERE and _ARTICLES.issuperset(between[1:])
