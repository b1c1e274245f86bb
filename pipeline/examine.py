"""What an answer holds, caption by caption, as the cache would keep it or list it as refused.

Pure, and most of what judging costs: so it is done wherever the answer is, in a worker process too.
Only whether a caption repeats another one has to be asked of the whole cache (`basket`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from cache_store.text import caption_id, normalise_caption
from pipeline.failures import fault_of
from prompts.schema import Rejected, parse

if TYPE_CHECKING:
    from pipeline.llm.base import Answer
    from prompts.request import Request

_ANSWER_LENGTH = 2_000  # characters of an unusable answer that a rejects file shows


class Piece(NamedTuple):
    """One caption of an answer.

    Attributes:
        reason: Why it cannot be kept, "" if nothing is wrong with it.
        text: The caption in normal form, or what was refused.
        concepts: What it is about.
        axes: What it was asked for, as JSON.
        id: Of the caption; "" if it cannot be kept.
        answer: The answer, where it is to be shown beside a refused piece.
    """

    reason: str
    text: str
    concepts: list[str]
    axes: str
    id: str
    answer: str


@dataclass(frozen=True)
class Examined:
    """An answer, piece by piece.

    Attributes:
        request_id: What was asked.
        model: Who answered.
        fault: What is wrong with the answer as a whole (`failures.fault_of`), "" if nothing.
        pieces: At least one.
    """

    request_id: str
    model: str
    fault: str
    pieces: list[Piece]


def examine(request: Request, answer: Answer) -> Examined:
    """Take an answer apart; never raises, whatever it is."""
    parsed = parse(answer.text, request, finish_reason=answer.finish_reason)
    fault = fault_of(answer, request, parsed)
    refused = [place for place, one in enumerate(parsed) if isinstance(one, Rejected)]
    shown = refused[0] if refused and (fault or len(refused) == len(parsed)) else None
    pieces = []
    for place, one in enumerate(parsed):
        axes = axes_text(request, place)
        if isinstance(one, Rejected):
            text = answer.text[:_ANSWER_LENGTH] if place == shown else ""
            pieces.append(Piece(one.reason, one.text, list(request.concepts), axes, "", text))
        else:
            caption = normalise_caption(one.text)
            own = caption_id(caption)
            pieces.append(Piece("", caption, list(one.concepts), axes, own, ""))
    return Examined(request.id, answer.model or request.model, fault, pieces)


def axes_text(request: Request, place: int) -> str:
    """What the caption at this place of the answer was asked for, as the files have it."""
    return json.dumps(request.axes_of(place), sort_keys=True)
