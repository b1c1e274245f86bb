"""What goes between `fleet` and its worker processes: one JSON value a line.

Requests go out as far as a backend reads them, and answers, failures and errors come back as they
were raised. No key is ever in a frame: a worker has it from its environment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cache_store import errors
from cache_store.errors import LqtseError, RemoteError
from pipeline.llm.base import Answer, AttemptFailed
from prompts.request import Request

LONGEST_LINE = 64 * 2**20  # bytes of one answer


def dump(value: object) -> bytes:
    """One line."""
    return json.dumps(value, separators=(",", ":")).encode() + b"\n"


def pack_request(request: Request) -> dict[str, Any]:
    """What shapes the answer."""
    return {
        "id": request.id,
        "messages": request.messages,
        "prompt": request.prompt,
        "seed": request.seed,
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "schema": request.schema,
        "count": request.count,
        "model": request.model,
        "stop": request.stop,
    }


def unpack_request(packed: Mapping[str, Any]) -> Request:
    """A request as a backend reads it; what only a judge of answers needs is left empty."""
    return Request(
        **{
            **packed,
            "messages": tuple(packed["messages"]),
            "stop": tuple(packed["stop"]),
            "index": 0,
            "concepts": (),
            "axes": {},
        }
    )


def pack_outcome(outcome: Answer | Exception) -> dict[str, Any]:
    """An answer, a failed attempt, or an error for good."""
    if isinstance(outcome, Answer):
        return {"answer": vars(outcome)}
    if isinstance(outcome, AttemptFailed):
        return {
            "failed": {
                "outcome": outcome.outcome,
                "retry_after": outcome.retry_after,
                "may_cost": outcome.may_cost,
            },
            "error": _pack_error(outcome.error),
        }
    return {"error": _pack_error(outcome)}


def unpack_outcome(packed: Mapping[str, Any]) -> Answer:
    """The answer.

    Raises:
        AttemptFailed: If the attempt failed.
        LqtseError: If no attempt will succeed.
    """
    if "answer" in packed:
        return Answer(**packed["answer"])
    error = _unpack_error(packed["error"])
    if "failed" not in packed:
        raise error
    if not isinstance(error, RemoteError):  # pragma: no cover - what backends raise
        raise error
    raise AttemptFailed(error=error, **packed["failed"])


def _pack_error(error: Exception) -> dict[str, Any]:
    if not isinstance(error, LqtseError):
        return {"kind": "LqtseError", "what": f"{type(error).__name__} in a worker: {error}"}
    return {
        "kind": type(error).__name__,
        "what": error.what,
        "where": error.where,
        "expected": None if error.expected is None else str(error.expected),
        "found": None if error.found is None else str(error.found),
        "hint": error.hint,
    }


def _unpack_error(packed: Mapping[str, Any]) -> LqtseError:
    fields = dict(packed)
    kind = getattr(errors, fields.pop("kind"))
    if issubclass(kind, errors.ConfigError):
        return errors.UsageError(**fields)
    error: LqtseError = kind(**fields)
    return error
