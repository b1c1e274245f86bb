"""Requests and plans that the tests of this folder share."""

from __future__ import annotations

from prompts.bank import ConceptBank
from prompts.plan import Plan
from prompts.request import Request

NAMES = (
    *("dog", "rain", "church bell", "train", "kettle", "violin", "thunder", "crow", "saw", "door"),
    *("engine", "whistle", "frog", "clock", "siren", "drum", "keys", "wind", "waves", "phone"),
)


def small_plan(seed: int = 0, *, template: str = "chat.v1", per_request: int | None = None) -> Plan:
    """A plan over twenty concepts for the model "scripted"."""
    return Plan(
        bank=ConceptBank.from_names(NAMES),
        seed=seed,
        model="scripted",
        template=template,
        per_request=per_request,
    )


def chat_request(index: int = 0) -> Request:
    """A chat request for five captions."""
    return small_plan().request(index)


def completion_request(index: int = 0, *, per_request: int | None = None) -> Request:
    """A completion request."""
    return small_plan(template="completion.v1", per_request=per_request).request(index)
