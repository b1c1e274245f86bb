"""What OpenAI-compatible servers send, read with care: none of it can be relied on.

Text is looked for where the protocol has it and where servers are known to put it: the content, as
a string or in parts, the arguments of a tool call, the refusal. An error is read from the several
shapes in which servers wrap it. `Retry-After` is understood in seconds, in milliseconds
(`retry-after-ms`) and as a date (RFC 9110, section 10.2.3).
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from pipeline.llm.base import Answer, join_lines

_FILTER_CODES = frozenset({"content_filter", "content_policy_violation"})
# How servers say that an answer ended by itself, after a tool call.
_ENDED = frozenset({"tool_calls", "function_call"})


class NotAnAnswer(ValueError):
    """A body that is not what the protocol says: cut, HTML, another JSON."""


@dataclass(frozen=True)
class Fault:
    """What a server says of a request that it did not answer.

    Attributes:
        message: In its words.
        code: Its name for it, "" if it gave none.
        param: The parameter it names, None if it names none.
    """

    message: str
    code: str = ""
    param: str | None = None

    @property
    def filtered(self) -> bool:
        """Whether a content filter refused: an answer of a kind, not a failure."""
        return self.code in _FILTER_CODES


def read_answer(body: bytes, *, chat: bool, model: str) -> Answer:
    """Read an answer.

    Args:
        body: A body that came with HTTP 200.
        chat: From which endpoint.
        model: The model's name where the server gives none.

    Raises:
        NotAnAnswer: If it is none.
        FaultInAnswer: If it is an error that came as HTTP 200.
    """
    reply = _object(body)
    choices = reply.get("choices")
    if not isinstance(choices, list) or not all(isinstance(one, dict) for one in choices):
        if reply.get("error"):
            raise FaultInAnswer(_fault(reply))
        raise NotAnAnswer("no choices")
    if not choices:
        raise NotAnAnswer("no choices")
    if chat:
        said = [(_said(choices[0].get("message")), _reason(choices[0]))]
    else:
        said = [(_text(choice.get("text")), _reason(choice)) for choice in choices]
    text, finish_reason = join_lines(said)
    usage = reply.get("usage")
    counts = usage if isinstance(usage, dict) else {}
    named = reply.get("model")
    return Answer(
        text=text,
        finish_reason=finish_reason,
        prompt_tokens=_count(counts.get("prompt_tokens")),
        completion_tokens=_count(counts.get("completion_tokens")),
        model=named if isinstance(named, str) and named else model,
    )


class FaultInAnswer(Exception):
    """An error that came as HTTP 200, as gateways send it."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


def read_fault(body: bytes) -> Fault:
    """Read what came with an HTTP status of 400 or more; never raises."""
    try:
        return _fault(_object(body))
    except NotAnAnswer:
        return Fault(body[:1000].decode("utf-8", "replace"))


def read_wait(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asked to wait, None if it did not, or not in a form that is known."""
    with suppress(KeyError, ValueError):
        return _seconds(float(headers["retry-after-ms"]) / 1000)
    asked = headers.get("retry-after", "")
    with suppress(ValueError):
        return _seconds(float(asked))
    with suppress(ValueError, TypeError, OverflowError):
        then = parsedate_to_datetime(asked).timestamp()
        now = time.time()
        with suppress(KeyError, ValueError, TypeError, OverflowError):
            # By the server's own clock: ours may be wrong.
            now = parsedate_to_datetime(headers["date"]).timestamp()
        return max(0.0, then - now)
    return None


def _seconds(value: float) -> float | None:
    return value if 0 <= value < float("inf") else None


def _object(body: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(body)
    except (ValueError, RecursionError):
        raise NotAnAnswer("not JSON") from None
    if not isinstance(reply, dict):
        raise NotAnAnswer("JSON, but no object")
    return reply


def _fault(reply: Mapping[str, Any]) -> Fault:
    inner = reply.get("error")
    wrapped = inner if isinstance(inner, dict) else reply
    message = inner if isinstance(inner, str) else wrapped.get("message") or wrapped.get("detail")
    code, param = wrapped.get("code"), wrapped.get("param")
    return Fault(
        message=message if isinstance(message, str) else json.dumps(message or dict(reply)),
        code=str(code) if isinstance(code, str | int) else "",
        param=param if isinstance(param, str) and param else None,
    )


def _said(message: object) -> str:
    """What a chat message says, wherever it says it."""
    if not isinstance(message, dict):
        raise NotAnAnswer("a choice without a message")
    calls = message.get("tool_calls")
    if isinstance(calls, list):
        for call in calls:
            function = call.get("function") if isinstance(call, dict) else None
            arguments = function.get("arguments") if isinstance(function, dict) else None
            if isinstance(arguments, str) and arguments:
                return arguments
            if isinstance(arguments, dict):  # as llama.cpp's older versions send them
                return json.dumps(arguments)
    return _text(message.get("content")) or _text(message.get("refusal"))


def _text(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(_text(part.get("text")) for part in content if isinstance(part, dict))
    if content is None:
        return ""
    raise NotAnAnswer("a text that is none")


def _reason(choice: Mapping[str, Any]) -> str:
    reason = choice.get("finish_reason")
    return "stop" if not isinstance(reason, str) or reason in _ENDED else reason


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0
