"""The lines of a batch's files: requests in, answers and errors out. Pure.

An input line holds the same body that the server would be sent for a single request. What comes
back may be in any order, in two files, and damaged: no line can do more harm than to leave its own
request without an answer.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, Literal

from pipeline.llm.base import Answer
from pipeline.llm.dialect import Dialect
from pipeline.llm.replies import Fault, FaultInAnswer, NotAnAnswer, read_answer, read_fault
from prompts.request import Request

CHAT_ENDPOINT: Final = "/v1/chat/completions"
COMPLETION_ENDPOINT: Final = "/v1/completions"

Kind = Literal["unserved", "transient", "refused", "key", "quota"]
"""What became of a request without an answer.

unserved    the batch ended before its turn: nothing is wrong with it
transient   it failed, and may not the next time
refused     the server will not take it as it is
key, quota  the server takes nothing from this account
"""

# The words for requests whose turn did not come.
_UNSERVED = frozenset({"batch_expired", "batch_cancelled"})
_TRANSIENT_STATUS = frozenset({408, 409, 425, 429})


@dataclass(frozen=True)
class Failure:
    """Why a request has no answer.

    Attributes:
        kind: What may be done about it.
        reason: In a word, for the ledger ("server_error").
        fault: In the server's words.
        may_cost: Whether the server may charge for it.
    """

    kind: Kind
    reason: str
    fault: Fault
    may_cost: bool = False

    @property
    def counts(self) -> bool:
        """Whether it was an attempt that the server made and that failed."""
        return self.kind == "transient"


@dataclass(frozen=True)
class Line:
    """One line of an output or error file.

    Attributes:
        request_id: Whose line it is, None if that cannot be read.
        result: The answer, or why there is none.
    """

    request_id: str | None
    result: Answer | Failure


MISSING = Failure("transient", "no_line", Fault("neither file has a line for the request"))
# Of a batch that was found at the server, what it holds is known only roughly.
NOT_IN_IT = Failure("unserved", "not_in_it", Fault("the batch did not hold the request"))
DAMAGED = Failure("transient", "damaged_line", Fault("its line is damaged"), may_cost=True)


def endpoint_of(request: Request) -> str:
    """Where a request goes, as a batch names it."""
    return CHAT_ENDPOINT if request.is_chat else COMPLETION_ENDPOINT


def input_line(request: Request, dialect: Dialect) -> bytes:
    """The line that asks `request`, its end included.

    Args:
        request: What is asked.
        dialect: How the server wants to be asked.
    """
    asked: dict[str, Any] = {"model": request.model}
    if request.is_chat:
        asked["messages"] = list(request.messages)
    else:
        asked["prompt"] = request.prompt
    line = {
        "custom_id": request.id,
        "method": "POST",
        "url": endpoint_of(request),
        "body": {**asked, **dialect.parameters(request)},
    }
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"


def read_line(text: bytes, *, chat: bool, model: str) -> Line:
    """Read a line of an output or error file; any bytes at all give a `Line`.

    Args:
        text: The line, with or without its end.
        chat: From which endpoint.
        model: The model's name where the server gives none.
    """
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return Line(None, DAMAGED)
    request_id = line.get("custom_id") if isinstance(line, dict) else None
    if not isinstance(request_id, str):
        return Line(None, DAMAGED)
    response = line.get("response")
    if not isinstance(response, dict):
        return Line(request_id, _unanswered(line))
    return Line(request_id, _read_response(response, chat, model))


def _unanswered(line: dict[str, Any]) -> Failure:
    """A request that never reached the model."""
    if not line.get("error"):
        return DAMAGED
    fault = read_fault(json.dumps({"error": line["error"]}).encode())
    kind: Kind = "unserved" if fault.code in _UNSERVED else "transient"
    return Failure(kind, fault.code or "server_error", fault)


def _read_response(response: dict[str, Any], chat: bool, model: str) -> Answer | Failure:
    status = response.get("status_code")
    body = json.dumps(response.get("body")).encode()
    if not isinstance(status, int):
        return DAMAGED
    if 200 <= status < 300:
        try:
            return read_answer(body, chat=chat, model=model)
        except NotAnAnswer as error:
            return Failure("transient", "not_an_answer", Fault(str(error)), may_cost=True)
        except FaultInAnswer as error:
            return _failure(500, error.fault)
    fault = read_fault(body)
    if fault.filtered:
        return Answer("", "content_filter", 0, 0, model)
    return _failure(status, fault)


def _failure(status: int, fault: Fault) -> Failure:
    if status in (401, 403):
        return Failure("key", "unauthorized", fault)
    if fault.code == "insufficient_quota":
        return Failure("quota", "quota", fault)
    if status == 429:
        return Failure("transient", "rate_limit", fault)
    if status >= 500 or status in _TRANSIENT_STATUS:
        return Failure("transient", "server_error", fault)
    return Failure("refused", "refused", fault)
