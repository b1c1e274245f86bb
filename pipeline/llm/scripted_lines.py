"""The lines of the scripted server's batch files: requests in, answers and errors out."""

from __future__ import annotations

import json
from typing import Any

_STATUSES = {"rate_limit": 429, "server_error": 500, "unauthorized": 401}


def add_answer(
    custom_id: str, behaviour: str, http: int, body: dict[str, Any], good: list[str], bad: list[str]
) -> None:
    """Add the line of one request to the output or to the error file.

    Args:
        custom_id: The request's id.
        behaviour: How the model behaves; see `scripted_batches`.
        http: The HTTP status of a behaviour that has none of its own.
        body: The reply's body.
        good: Lines of the output file.
        bad: Lines of the error file.
    """
    if behaviour == "drop":
        return
    if behaviour == "hang":
        error = {"code": "request_timeout", "message": "The model did not answer in time"}
        bad.append(line_of(custom_id, None, error))
        return
    status = _STATUSES.get(behaviour, http)
    line = line_of(custom_id, {"status_code": status, "request_id": "r", "body": body}, None)
    if behaviour == "not_an_api":
        line = line[: len(line) // 2]
    (good if status == 200 else bad).append(line)


def line_of(custom_id: str, response: object, error: object) -> str:
    """A line of an output or error file."""
    return json.dumps(
        {
            "id": f"batch_req_{custom_id}",
            "custom_id": custom_id,
            "response": response,
            "error": error,
        }
    )


def validated(content: bytes, endpoint: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The requests of an input file, and what is wrong with it, as the real server checks.

    Args:
        content: The file.
        endpoint: Where all of its requests have to go.
    """
    requests: list[dict[str, Any]] = []
    seen: set[str] = set()
    errors = []
    for number, text in enumerate(content.splitlines(), 1):
        try:
            line = json.loads(text)
            wrong = "duplicate_custom_id" if line["custom_id"] in seen else ""
            if line["method"] != "POST" or line["url"] != endpoint or not line["body"]["model"]:
                wrong = "invalid_url"
        except (ValueError, KeyError, TypeError):
            errors.append({"code": "invalid_json_line", "message": "bad line", "line": number})
            continue
        if wrong:
            errors.append({"code": wrong, "message": wrong, "line": number})
        seen.add(line["custom_id"])
        requests.append(line)
    if not requests and not errors:
        errors.append({"code": "empty_file", "message": "The file is empty", "line": None})
    return requests, errors
