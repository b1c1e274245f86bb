"""Whether a text tells of something that sounds.

It does if it has a word for a sound: a verb of the concept list ("barks", "rumbling"), or one of
the words here. Which object makes the sound is not enough: "a dog on a mat" tells none.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import cache

from prompts.lexicon import builtin_concepts, data_lines
from prompts.words import stem, word_set

# Verbs of the concept list that tell nothing audible without their company ("lie still").
_SILENT = frozenset(
    stem(word)
    for word in word_set(
        "catch climb cock copy cruise double drag drift fade feed fill fold go "
        "hold keep let lie light make mimic pay press raise read rehearse release rise round "
        "settle split stack stretch sway take touch turn twist warm wind write"
    )
)


@cache
def verb_stems() -> frozenset[str]:
    """Stems of the verbs of the concept list, but for those that tell nothing audible alone."""
    found = set()
    for concept in builtin_concepts():
        for _, phrase in concept.actions:
            parts = phrase.split()
            found |= {stem(part) for i, part in enumerate(parts) if i == 0 or parts[i - 1] == "and"}
    return frozenset(found - _SILENT - {stem("off")})


@cache
def audible_stems() -> frozenset[str]:
    """Stems of all words that tell a sound."""
    listed = {stem(word) for _, line in data_lines("audible.txt") for word in line.split()}
    return verb_stems() | listed


def is_audible(words: Sequence[str], stems: Collection[str]) -> bool:
    """Whether one of the words tells a sound.

    Args:
        words: The words of a text, lower case.
        stems: Their stems.
    """
    known = audible_stems()
    return any(one in known for one in stems)
