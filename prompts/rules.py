"""Why a caption is refused: one small rule a reason, in the order of `REASONS`."""

from __future__ import annotations

from prompts.request import Request

REASONS = (
    "empty",
    "markup",
    "refusal",
    "wrong_language",
    "speech_transcript",
    "too_short",
    "too_long",
    "copied_example",
    "truncated",
    "not_audible",
    "concept_missing",
)


def judge(text: str, request: Request, *, cut: bool = False) -> str | None:
    """The first reason to refuse a caption, None if there is none."""
    if not any(char.isalpha() for char in text):
        return "empty"
    if cut:
        return "truncated"
    return None


def named_concepts(text: str, request: Request) -> tuple[str, ...]:
    """The concepts of the request that a caption names."""
    return tuple(name for name in request.concepts if name in text.lower())
