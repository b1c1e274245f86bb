"""Every concept in several wordings, as captions of one sound: what a caption about it looks like.

They come from the grammar, so they cost nothing, need no model, and are the same everywhere. They
stand for captions that are not written yet: how well a clip fits a concept is how well it fits the
concept's typical wording, and how far two captions about one sound may lie apart is how far its
wordings do. Captions of the small language model were found to lie as near to their concept as
these do (docs/grow.md), so the one is a fair measure for the other.
"""

from __future__ import annotations

import json

from prompts import grammar
from prompts.axes import Axes, Axis
from prompts.bank import ConceptBank
from prompts.plan import Plan

COUNT = 8  # wordings a concept: enough for a median and a quartile
_VISITS = 4 * COUNT  # a concept with fewer wordings than that repeats some

# A caption of several sounds is near to clips of each, and typical of none.
ALONE = Axes(sources=Axis("sources", ("1",), (1.0,)))

# Few concepts have verbs of their own in a user's list; then wordings differ less than captions do.
_ENOUGH = 16
_EVERY = 16


def wordings(bank: ConceptBank) -> list[tuple[str, ...]]:
    """Word every concept of a bank.

    Returns:
        For each concept, in the order of the bank, `COUNT` captions; different ones where the
        grammar has so many, else some of them again.
    """
    plain = ConceptBank(bank.concepts)
    plan = Plan(bank=plain, axes=ALONE, model="grammar", template="chat.v1", per_request=1)
    found: dict[str, dict[str, str]] = {concept.name: {} for concept in plain}
    for visit in range(_VISITS):
        begin = visit * len(plain)
        missing = {name for name, texts in found.items() if len(texts) < COUNT}
        if not missing:
            break
        for index in range(begin, begin + len(plain)):
            if plain.draw(plan.seed, index).name not in missing:
                continue
            request = plan.request(index)
            text = json.loads(grammar.answer(request))["captions"][0]
            found[request.concepts[0]].setdefault(text.casefold(), text)
    return [_filled(tuple(texts.values())) for texts in found.values()]


def _filled(texts: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(texts[place % len(texts)] for place in range(COUNT))


def calibration_bank(bank: ConceptBank) -> ConceptBank:
    """The concepts on which to measure how far wordings of one sound lie apart.

    Those of the bank that have verbs, if they are enough; else a fixed sample of our own list: of a
    bare name the grammar can only say that it is heard.
    """
    told = tuple(concept for concept in bank if concept.actions)
    if len(told) >= _ENOUGH:
        return ConceptBank(told)
    return ConceptBank(ConceptBank.builtin().concepts[::_EVERY])
