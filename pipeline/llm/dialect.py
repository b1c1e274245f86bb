"""What an OpenAI-compatible server takes, learnt from what it refuses.

Structured output is asked for as a JSON schema (`response_format`), else as a call of one tool
whose parameters are the schema, else not at all: the prompt asks for JSON in words, and parsing
reads whatever comes. A server that takes a form and ignores it is a case for parsing too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Protocol, cast, get_args, runtime_checkable

from prompts.request import Request

Structured = Literal["json_schema", "tool", "text"]

FORMS: Final[tuple[Structured, ...]] = get_args(Structured)
TOOL = "write_captions"

_LIMITS = ("max_tokens", "max_completion_tokens")
_OPTIONAL = frozenset({"seed", "temperature", "top_p", "stop"})
# By which words a refusal speaks of a form.
_NAMES_OF_FORM: Final[Mapping[str, tuple[str, ...]]] = {
    "json_schema": ("response_format", "json_schema"),
    "tool": ("tools", "tool_choice"),
    "text": (),
}
_WORD = re.compile(r"[a-z_]+")


@dataclass
class Dialect:
    """What one server takes, as far as it is known.

    Attributes:
        known: Whether a request has succeeded, so that nothing is left to find out.
        structured: How structured output is asked for.
        dropped: Parameters that it refuses.
        limit: What it calls the limit on an answer's tokens.
    """

    known: bool = False
    structured: Structured = "json_schema"
    dropped: set[str] = field(default_factory=set)
    limit: str = _LIMITS[0]

    @classmethod
    def recalled(cls, kept: Mapping[str, Any]) -> Dialect:
        """A dialect as `memory` wrote it; what is not understood is left out."""
        structured, limit = kept.get("structured"), kept.get("limit")
        dropped = kept.get("not_taken")
        return cls(
            known=kept.get("known") is True,
            structured=cast(Structured, structured) if structured in FORMS else "json_schema",
            dropped={name for name in dropped if name in _OPTIONAL}
            if isinstance(dropped, list)
            else set(),
            limit=str(limit) if limit in _LIMITS else _LIMITS[0],
        )

    def memory(self) -> dict[str, Any]:
        """What another process or a later run may begin with: JSON values."""
        return {
            "known": self.known,
            "structured": self.structured,
            "not_taken": sorted(self.dropped),
            "limit": self.limit,
        }

    def parameters(self, request: Request) -> dict[str, Any]:
        """The parameters of a request beside its messages or prompt."""
        wanted: dict[str, Any] = {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "seed": request.seed,
            self.limit: request.max_tokens,
        }
        if not request.is_chat and request.count > 1 and request.temperature > 0:
            # Several continuations of one prompt, each a caption, with its share of the tokens;
            # without chance all would be the same, and vLLM's server refuses several.
            wanted["n"] = request.count
            wanted[self.limit] = max(1, request.max_tokens // request.count)
        if request.stop:
            wanted["stop"] = list(request.stop)
        if request.is_chat and request.schema is not None:
            wanted.update(self._form(request.schema))
        return {name: value for name, value in wanted.items() if name not in self.dropped}

    def _form(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        if self.structured == "json_schema":
            described = {"name": "captions", "schema": schema, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": described}}
        if self.structured == "tool":
            function = {"name": TOOL, "description": "Give the captions", "parameters": schema}
            return {
                "tools": [{"type": "function", "function": function}],
                "tool_choice": {"type": "function", "function": {"name": TOOL}},
            }
        return {}

    def adapt(self, refused: str | None, message: str, sent: Mapping[str, Any]) -> bool:
        """Learn from a refusal; False if there is nothing left to try.

        Args:
            refused: The parameter that the server named, None if it named none.
            message: What it said, searched for a name where none was given.
            sent: The parameters of the refused request.
        """
        words = {refused.split(".")[0].split("[")[0]} if refused else set(_WORD.findall(message))
        has_form = self.structured != "text" and any(
            name in sent for name in _NAMES_OF_FORM[self.structured]
        )
        if has_form and words & set(_NAMES_OF_FORM[self.structured]):
            return self._next_form()
        if self.limit == _LIMITS[0] and self.limit in sent and _LIMITS[0] in words:
            self.limit = _LIMITS[1]
            return True
        if names := words & _OPTIONAL & set(sent):
            self.dropped |= names
            return True
        # Whatever it may be, the newest thing that we ask for is the likeliest.
        return has_form and not refused and self._next_form()

    def _next_form(self) -> bool:
        self.structured = FORMS[FORMS.index(self.structured) + 1]
        return True


@runtime_checkable
class Learner(Protocol):
    """A backend that finds out what servers take, and need not find it out again."""

    def recall(self, dialects: Mapping[str, Mapping[str, Any]]) -> None:
        """Begin with what an earlier run learnt.

        Args:
            dialects: `Dialect.memory` by a server's public address.
        """
        ...


def dialects_of(steps: Iterable[Mapping[str, Any]], model: str) -> dict[str, dict[str, Any]]:
    """What earlier runs learnt of the servers of a model, newest last, by public address.

    It is a place to begin, not known: the first request still finds out what is refused now.

    Args:
        steps: The provenance of a cache, where `describe` put it.
        model: Its name; what a server takes may differ from model to model.
    """
    found: dict[str, dict[str, Any]] = {}
    for step in steps:
        dialects = step.get("dialects")
        if step.get("model") == model and isinstance(dialects, dict):
            for url, kept in dialects.items():
                if isinstance(kept, dict):
                    found[url] = {**kept, "known": False}
    return found
