"""How an answer becomes captions, or reasons why not.

`parse` takes whatever a model sent, judges every string in it by the rules of `prompts.rules`, and
never raises: any text is captions or reasons.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prompts.request import Request
from prompts.rules import judge, named_concepts
from prompts.unwrap import Piece, clean, unwrap_completion, unwrap_json, unwrap_lines

# Written out, since pydantic would take 8 MB and a seventh of a second to say the same.
_CAPTIONS: dict[str, Any] = {
    "type": "array",
    "description": "The captions, one string each",
    "items": {"type": "string"},
    "minItems": 1,
}
CUT_REASONS = frozenset({"length", "max_tokens", "content_filter"})


@dataclass(frozen=True)
class Accepted:
    """A caption that can be kept.

    Attributes:
        text: The caption.
        concepts: The concepts of the request that it names, the main one first.
    """

    text: str
    concepts: tuple[str, ...]


@dataclass(frozen=True)
class Rejected:
    """A string that can't be kept.

    Attributes:
        reason: One of `rules.REASONS`.
        text: What was refused.
    """

    reason: str
    text: str


def response_schema(count: int) -> dict[str, Any]:
    """The JSON schema of an answer with at most `count` captions, as servers with structured output
    take it."""
    return {
        "type": "object",
        "properties": {"captions": {**_CAPTIONS, "maxItems": count}},
        "required": ["captions"],
        "additionalProperties": False,
    }


def parse(
    answer: str | bytes, request: Request, *, finish_reason: str | None = None
) -> list[Accepted | Rejected]:
    """Turn an answer into captions and reasons, in the order in which they stand in it.

    Args:
        answer: What the model sent; bytes are read as UTF-8, wrong ones as "�".
        request: What it was asked.
        finish_reason: Why the server says the answer ended; "length" marks a caption that was cut.

    Returns:
        At least one result; an answer with nothing in it is one rejection, "empty".
    """
    text = answer.decode("utf-8", "replace") if isinstance(answer, bytes) else answer
    cut = finish_reason in CUT_REASONS
    if request.schema is not None:
        pieces = unwrap_json(text, cut=cut)
    elif request.is_chat:
        pieces = unwrap_lines(text, cut=cut)
    else:
        pieces = unwrap_completion(
            text, request.concepts, request.count, start=request.start, cut=cut
        )
    return [_judged(piece, request) for piece in pieces] or [Rejected("empty", "")]


def _judged(piece: Piece, request: Request) -> Accepted | Rejected:
    text = clean(piece.text)
    reason = judge(text, request, cut=piece.cut)
    if reason is not None:
        return Rejected(reason, text)
    return Accepted(text, named_concepts(text, request))
