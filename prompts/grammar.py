"""Captions from a grammar over the concept list: offline, at once, and without any language model.

Every concept of the built-in list brings who or what does it and fitting verbs, so a sentence is
put together from parts that belong together: "an old man snores heavily in the next room". For a
concept that is not in the list, only its name is known, and the captions are plainer. The answer
has the format that the request asks of a model, so all that follows treats it the same way.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from prompts.axes import BACKGROUND, LABEL, LONG, PHRASE, QUERY, SEQUENCE, SHORT, TAGS
from prompts.lexicon import Concept, known_concepts
from prompts.naming import names, text_stems
from prompts.request import Request
from prompts.words import gerund, stems, third_person, word_set, words

_GRAMMAR = 5  # purpose number in the seed sequence
_TRIES = 8  # attempts at a caption that differs from those before it in the same answer

_LOUDNESS = {
    "loud": "loudly",
    "very loud": "very loudly",
    "soft": "softly",
    "faint": "faintly",
    "growing louder": "louder and louder",
}
_ADJECTIVES = ("loud", "soft", "faint", "muffled")
_DISTANCE = {"very close": "up close", "passing by": ""}
# A verb phrase with one of these tells already where, or on what.
_PREPOSITIONS = word_set(
    "across along around at between by down from in inside into off on out over past round "
    "through to under underfoot up"
)
# What happens at one stroke does not happen slowly or without pause.
_STROKES = word_set(
    "blow bang boom break burst collapse crash cut drop erupt explode fall fire land open pop "
    "shatter shut slam smash snap splat split strike thud thump"
)
_STROKE_MANNERS = frozenset(("suddenly", "again and again", "once", "briefly"))
_PERSONS = {"someone": "person", "something": "thing"}

_QUERIES = (
    "the {noun} {doing}",
    "{noun} {doing}",
    "the {noun} {doing} in the back",
    "the sound of the {noun} {doing}",
    "only the {noun} {doing}",
    "isolate the {noun} {doing}",
    "can you pull out the {noun} {doing}?",
    "let me hear the {noun} {doing}",
    "remove everything but the {noun} {doing}",
)
_QUERIES_OF_ONE = (
    "the {noun} that {does}",
    "just the {noun}, please",
    "extract the {noun}",
    "I want to hear the {noun} that {does}",
    "keep the {noun}, remove everything else",
    "give me the {noun} without the rest",
)
_UNKNOWN = {
    "sentence": ("{name} can be heard", "there is a sound of {name}", "{name} sounds"),
    "phrase": ("the sound of {name}", "the noise of {name}", "sounds of {name}"),
    "query": ("the {name}", "only the {name}", "isolate the {name}", "the sound of the {name}"),
}


@dataclass(frozen=True)
class _Part:
    """One source in a caption: who, what, in the shapes that a sentence needs.

    `noun` is the subject without its article, `doing` the verb phrase as "-ing", `does` its finite
    form. `verb` is the base form, "" for a concept of which only the name is known.
    """

    name: str
    group: str
    subject: str
    noun: str
    doing: str
    does: str
    verb: str


def answer(request: Request) -> str:
    """Answer a request without a model.

    Args:
        request: Any request; the same one gets the same answer.

    Returns:
        What a model would send: JSON where the request has a schema, else one caption a line.
    """
    rng = np.random.default_rng([request.seed, _GRAMMAR])
    captions: list[str] = []
    for place in range(request.count):
        axes = request.axes_of(place)
        caption = _caption(request, axes, rng)
        for _ in range(_TRIES):
            if caption not in captions:
                break
            caption = _caption(request, axes, rng)
        captions.append(caption)
    if request.schema is not None:
        return json.dumps({"captions": captions}, ensure_ascii=False)
    if not request.is_chat:
        # With its label a line of a list is whole, and need not go on from the prompt's beginning.
        label = ", ".join(request.concepts)
        captions = [f"{label}: {caption}" for caption in captions]
    return "\n".join(captions) + "\n"


def _caption(request: Request, axes: Mapping[str, str], rng: np.random.Generator) -> str:
    main, *others = request.concepts
    parts = [_part(main, rng, axes.get("action")), *(_part(name, rng) for name in others)]
    builders = {LABEL: _label, TAGS: _tags, QUERY: _query}
    build = builders.get(request.register)
    if build is not None:
        return build(parts, axes, rng)
    return _clause(parts, axes, rng, finite=request.register != PHRASE)


def _pick(rng: np.random.Generator, options: Sequence[str]) -> str:
    return options[int(rng.integers(len(options)))]


def _joined(*texts: str) -> str:
    return " ".join(text for text in texts if text)


def _listed(texts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join((", ".join(texts[:-1]), texts[-1])) if len(texts) > 1 else texts[0]


def _part(name: str, rng: np.random.Generator, verb: str | None = None) -> _Part:
    """A source, with one of its subjects and verbs; with the verb asked for, if it has that."""
    concept = known_concepts().get(name, Concept(name))
    if not concept.actions:
        return _Part(name, "", name, name, "", "", "")
    actions = [action for action in concept.actions if action[1] == verb] or concept.actions
    subject, verb = actions[int(rng.integers(len(actions)))]
    plural = subject.startswith(("+", "two "))
    subject = subject.removeprefix("+")
    first, _, rest = subject.partition(" ")
    noun = rest if first in ("a", "an", "the") and rest else subject
    return _Part(
        name=name,
        group=concept.group,
        subject=subject,
        noun=_PERSONS.get(noun, noun),
        doing=gerund(verb),
        does=verb if plural else third_person(verb),
        verb=verb,
    )


def _adjuncts(part: _Part, axes: Mapping[str, str], rng: np.random.Generator) -> list[str]:
    """Manner, loudness, distance, material and place, as far as they fit behind the verb.

    A short caption takes one of them at most, a medium one two, a long one three.
    """
    said = words(part.verb)
    most = {SHORT: 1, LONG: 3}.get(axes.get("length", ""), 2)
    manner = axes.get("manner", "")
    if set(said) & _STROKES and manner not in _STROKE_MANNERS:
        manner = ""
    how = [manner, _LOUDNESS.get(axes.get("loudness", ""), "")]
    if any(word.endswith("ly") for word in said) or {"again", "faster", "twice", "once"} & {*said}:
        how = []
    distance = axes.get("distance", "")
    where = [axes.get("place", ""), _DISTANCE.get(distance, distance)]
    if axes.get("loudness") == "muffled" and not any(where):
        where = ["behind a wall"]
    if not _PREPOSITIONS & set(said[1:]):
        where.insert(0, axes.get("material", ""))
    chosen = [text for text in how if text][:1]
    subject = set(stems(part.subject))
    chosen += [text for text in where if text and not subject & set(stems(text)[2:])][:1]
    while len(chosen) > most:
        del chosen[int(rng.integers(len(chosen)))]
    return chosen


def _label(parts: Sequence[_Part], _: Mapping[str, str], rng: np.random.Generator) -> str:
    part = parts[0]
    if not part.verb:
        return part.name
    shapes = [part.name, _joined(part.noun, part.doing)]
    if " " not in part.verb and part.group != "people":
        shapes += [_joined(part.noun, part.doing), _joined(part.doing, part.noun)]
    return _pick(rng, shapes)


def _tags(parts: Sequence[_Part], axes: Mapping[str, str], rng: np.random.Generator) -> str:
    tags: list[str] = []
    for part in parts:
        action = part.doing.split(" ")[0]
        shapes = [(part.name,), (part.name, action)]
        if part.verb == part.verb.split(" ")[0]:
            shapes.append((_joined(part.noun, action),))
        tags += [tag for tag in shapes[int(rng.integers(len(shapes)))] if tag]
    place = axes.get("place", "").split(" ", 1)[-1]
    for article in ("a ", "an ", "the "):
        place = place.removeprefix(article)
    extra = [place, axes.get("distance", ""), axes.get("loudness", ""), axes.get("material", "")]
    tags += [tag for tag in extra if tag][: 1 if axes.get("length") == SHORT else 3]
    if len(set(tags)) == 1:
        action = parts[0].doing.split(" ")[0]
        tags.append(action if action and action not in tags[0] else "sound")
    return ", ".join(dict.fromkeys(tags))


def _clause(
    parts: Sequence[_Part], axes: Mapping[str, str], rng: np.random.Generator, *, finite: bool
) -> str:
    """A sentence, or a noun phrase: the main source with its adjuncts, then the others."""
    main, *others = parts
    rest = _adjuncts(main, axes, rng)
    if not main.verb:
        text = _pick(rng, _UNKNOWN["sentence" if finite else "phrase"]).format(name=main.name)
        text = _joined(
            text, *(where for where in rest if where in (axes.get("place"), axes.get("distance")))
        )
    elif not finite:
        text = _noun_phrase(main, rest, axes, rng)
    elif rest and rest[-1] == axes.get("place") and not others and rng.random() < 0.15:
        text = f"{rest[-1]}, {_joined(main.subject, main.does, *rest[:-1])}"
    else:
        text = _joined(main.subject, main.does, *rest)
    return text + (_others(others, axes, rng, finite=finite) if others else "")


def _noun_phrase(
    part: _Part, rest: list[str], axes: Mapping[str, str], rng: np.random.Generator
) -> str:
    where = rest[-1:] if rest and rest[-1] in (axes.get("place"), axes.get("distance")) else []
    shapes = [
        _joined(part.subject, part.doing, *rest),
        _joined(part.subject, part.doing, *rest),
        _joined("the sound of", part.subject, part.doing, *rest),
    ]
    if " " not in part.verb:
        loudness = axes.get("loudness", "")
        adjective = loudness if loudness in _ADJECTIVES else ""
        shapes.append(_joined("the", adjective, part.doing, "of", part.subject, *where))
    return _pick(rng, shapes)


def _others(
    parts: Sequence[_Part], axes: Mapping[str, str], rng: np.random.Generator, *, finite: bool
) -> str:
    """The further sources, joined on as the relation asks."""
    doing = [_joined(part.subject, part.doing) for part in parts]
    does = [_joined(part.subject, part.does or "can be heard") for part in parts]
    relation = axes.get("relation", "")
    if relation == SEQUENCE:
        if finite and rng.random() < 0.5:
            return "".join(f", then {text}" for text in does)
        return f", followed by {', then '.join(doing)}"
    if relation == BACKGROUND:
        return f" with {_listed(doing)} in the background"
    if finite:
        link, texts = [(" while ", does), (" as ", does), (" with ", doing)][int(rng.integers(3))]
        return link + _listed(texts)
    return _pick(rng, (" with ", " and ")) + _listed(doing)


def _query(parts: Sequence[_Part], axes: Mapping[str, str], rng: np.random.Generator) -> str:
    main, *others = parts
    if not main.verb:
        text = _pick(rng, _UNKNOWN["query"]).format(name=main.name)
        return text + "".join(f" and the {part.noun}" for part in others)
    if others:
        doing = " and the ".join([main.doing, *(_joined(part.noun, part.doing) for part in others)])
        return _pick(rng, _QUERIES).format(noun=main.noun, doing=doing)
    # "just the person, please" would not say which sound is meant.
    known = known_concepts()[main.name]
    speaks = names(text_stems(main.noun), main.name, known.synonyms)
    text = _pick(rng, _QUERIES + _QUERIES_OF_ONE if speaks else _QUERIES)
    distance = axes.get("distance", "")
    where = axes.get("place") or _DISTANCE.get(distance, distance)
    if where and text.endswith(("{doing}", "{does}")):
        text = f"{text} {where}"
    return text.format(noun=main.noun, doing=main.doing, does=main.does)
