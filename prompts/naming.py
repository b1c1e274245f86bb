"""Whether a caption names a concept, tolerant of inflection, synonyms and compounds.

"a puppy yelps" names "dog", "grinding coffee" names "coffee grinder", "doorbells" name "bell". Of a
name of several words, all of them or its head (the last) must be there; the noun of a name like
"door creaking" is enough, since its verb has a hundred others; a head that says little ("machine",
"sound") is not.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache

from prompts.words import agent_root, stem, word_set, words

_SMALL_WORDS = word_set("a an and at by from in into of off on or s the to up with")
_GENERIC = frozenset(
    stem(word)
    for word in word_set(
        "ambience apparatus atmosphere background box call crowd device equipment event flock game "
        "human instrument interior line machine music noise object people person playing room "
        "scene signal sound source swarm system thing tone tool vehicle voice"
    )
)
_COMPOUND = 4  # letters that a stem needs to be looked for inside a longer word


@lru_cache(maxsize=256)  # a caption is looked at by several rules
def text_stems(text: str) -> frozenset[str]:
    """The stems of a text as `names` looks them up, agents ("grinder") with their verbs."""
    found = {stem(word) for word in words(text)}
    return frozenset(found | {agent_root(one) for one in found})


def names(found: Collection[str], name: str, aliases: Sequence[str] = ()) -> bool:
    """Whether a text names a concept.

    Args:
        found: `text_stems` of the text.
        name: The concept.
        aliases: Other words for it.
    """
    if any(all(_has(found, one) for one in part) for part in _ways(name)):
        return True
    return any(all(_has(found, one) for one in _content(alias)) for alias in aliases)


def _has(found: Collection[str], one: str) -> bool:
    if one in found or agent_root(one) in found:
        return True
    if len(one) < _COMPOUND:
        return False
    return any(other.startswith(one) or other.endswith(one) for other in found)


@lru_cache(maxsize=4096)
def _ways(name: str) -> tuple[tuple[str, ...], ...]:
    """The sets of stems each of which is enough to name a concept."""
    content = _content(name)
    ways = [content, ("".join(content),)]
    raw = [word for word in words(name) if word not in _SMALL_WORDS]
    if len(raw) > 1:
        nouns = tuple(stem(word) for word in raw if not word.endswith("ing"))
        if raw[-1].endswith("ing") and nouns:
            ways.append(nouns)
        elif content[-1] not in _GENERIC:
            ways.append(content[-1:])
    return tuple(ways)


@lru_cache(maxsize=16384)
def _content(name: str) -> tuple[str, ...]:
    every = words(name)
    kept = [word for word in every if word not in _SMALL_WORDS] or every
    return tuple(stem(word) for word in kept)
