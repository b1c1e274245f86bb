"""The Batch API of the scripted server: files that come and go, batches that take their time.

`ScriptedServer` answers /v1/files and /v1/batches with this, so that a set-up with `--backend
openai-batch` can be tried with no key and no money. What a batch does is said by a `BatchScript`;
how each request in it is answered, by the server's own script (`scripted`), where a behaviour means

    rate_limit, server_error, unauthorized    a line in the error file, with that HTTP status
    hang                                      a line in the error file, `request_timeout`
    drop                                      no line at all
    not_an_api                                a damaged line in the output file

and every other one a line in the output file. Lines come in the reverse order of the requests:
the protocol promises none.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from pipeline.llm.scripted_files import Reply, ScriptedFiles, json_reply, page, refused
from pipeline.llm.scripted_lines import add_answer, line_of, validated

STEPS: Final = (
    *("upload", "files", "content", "delete"),
    *("create", "batches", "poll", "cancel"),
)
FAULTS: Final = ("ok", "server_error", "rate_limit", "lost", "cut")
TERMINAL: Final = frozenset({"completed", "failed", "expired", "cancelled"})
TOKEN_LIMIT: Final = "token_limit_exceeded"

Play = Callable[[Mapping[str, Any], str, bool], tuple[str, int, dict[str, Any]]]
"""Given a body, a request's id and whether it is a chat: behaviour, HTTP status, body of the reply.
"""


@dataclass(frozen=True)
class BatchScript:
    """How the batches of a scripted server go.

    Attributes:
        polls: A batch has ended when it is looked at for the so-maniest time.
        endings: How the first batch ends, the second and so on; the last holds for all that
            follow. "completed"; "expired" (the first half of its requests is answered);
            "cancelled" (likewise); or "failed:CODE", where CODE is what the server says.
        most_requests: Requests that may be in batches that have not ended: more, and a batch
            fails with `token_limit_exceeded`, as the limit on enqueued tokens does.
        faults: By step (one of `STEPS`), what happens to its first call, its second and so on:
            "ok", "server_error" and "rate_limit" (nothing is done), "lost" (it is done, and the
            connection ends without an answer), "cut" (the answer ends in the middle).
        watch: Called with "before STEP" and "after STEP", in the server's thread; "after" is
            before the answer is sent.
        record: Called with each call of the API before anything comes of it, with the arguments of
            `ScriptedBatches.handle`: the same calls bring another server to the same state.
    """

    polls: int = 1
    endings: tuple[str, ...] = ("completed",)
    most_requests: int | None = None
    faults: Mapping[str, Sequence[str]] = field(default_factory=dict)
    watch: Callable[[str], None] = lambda event: None
    record: Callable[[str, str, Mapping[str, str], bytes], None] = lambda *call: None


@dataclass
class _Batch:
    """One batch as the server sees it."""

    id: str
    created_at: int
    asked: dict[str, Any]
    requests: list[dict[str, Any]]
    ending: str
    status: str = "validating"
    looks: int = 0
    files: dict[str, str] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    errors: list[dict[str, Any]] = field(default_factory=list)


class ScriptedBatches:
    """Files and batches of one scripted server.

    Args:
        script: How batches go.
        play: How a request in a batch is answered.
        clock: Seconds since 1970.

    Attributes:
        files: What is stored.
        created: Metadata of all batches that were ever made, in order.
        sizes: Requests of each of these batches.
        cancelled: Batches that were cancelled by a client.
        calls: Calls by step.
    """

    def __init__(self, script: BatchScript, play: Play, clock: Callable[[], float]) -> None:
        self._script = script
        self._play = play
        self._clock = clock
        self._batches: dict[str, _Batch] = {}
        self.files = ScriptedFiles(clock)
        self.created: list[dict[str, str]] = []
        self.sizes: list[int] = []
        self.cancelled = 0
        self.calls: Counter[str] = Counter()

    def handle(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> Reply | None:
        """Answer a call; None if the path is not one of this API.

        Args:
            method: HTTP method.
            target: Path with query, "/v1/files?limit=10".
            headers: By name in lower case.
            body: As it came.
        """
        parts = urlsplit(target)
        _, _, path = parts.path.rpartition("/v1/")
        names = path.split("/")
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        step = _ROUTES.get((method, names[0], len(names), names[2] if len(names) > 2 else ""))
        if step is None:
            return None
        self._script.record(method, target, headers, body)
        plan = self._script.faults.get(step, ())
        fault = plan[self.calls[step]] if self.calls[step] < len(plan) else "ok"
        self.calls[step] += 1
        self._script.watch(f"before {step}")
        if fault == "server_error":
            return refused(500, "try again", "server_error")
        if fault == "rate_limit":
            return refused(429, "slow down", "rate_limit_exceeded")
        about = names[1] if len(names) > 1 else ""
        reply = self._do(step, about, query, headers, body)
        self._script.watch(f"after {step}")
        sent = {"lost": "lost", "cut": "cut"}.get(fault, "whole")
        return Reply(reply.status, reply.content, reply.kind, sent)

    def _do(
        self,
        step: str,
        about: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
    ) -> Reply:
        if step == "upload":
            return self.files.upload(headers.get("content-type", ""), body)
        if step == "files":
            return self.files.page(query)
        if step == "content":
            return self.files.content(about)
        if step == "delete":
            return self.files.delete(about)
        if step == "create":
            return self._create(json.loads(body))
        if step == "batches":
            return page([_record(batch) for batch in self._batches.values()], query, 20)
        batch = self._batches.get(about)
        if batch is None:
            return refused(404, f"No batch found with id '{about}'.", "not_found")
        if step == "cancel":
            return self._cancel(batch)
        self._advance(batch)
        return json_reply(_record(batch))

    def _create(self, asked: dict[str, Any]) -> Reply:
        file_id = asked.get("input_file_id", "")
        content = self.files.stored.get(file_id)
        if content is None:
            return refused(400, f"Cannot find file {file_id}", "invalid_request_error")
        endings = self._script.endings
        ending = endings[min(len(self.created), len(endings) - 1)]
        requests, errors = validated(content, asked.get("endpoint", ""))
        waiting = sum(
            len(one.requests) for one in self._batches.values() if one.status not in TERMINAL
        )
        most = self._script.most_requests
        if most is not None and waiting + len(requests) > most:
            ending = f"failed:{TOKEN_LIMIT}"
        if ending.startswith("failed:") and not errors:
            code = ending.removeprefix("failed:")
            errors = [{"code": code, "message": f"The batch failed: {code}", "line": None}]
        batch = _Batch(
            id=f"batch_{len(self.created):04d}",
            created_at=int(self._clock()),
            asked=asked,
            requests=requests,
            ending="failed" if errors else ending,
            errors=errors,
            counts={"total": 0, "completed": 0, "failed": 0},
        )
        self._batches[batch.id] = batch
        self.created.append(dict(asked.get("metadata") or {}))
        self.sizes.append(len(requests))
        return json_reply(_record(batch))

    def _cancel(self, batch: _Batch) -> Reply:
        if batch.status in TERMINAL:
            return refused(
                409, f"Cannot cancel a batch with status '{batch.status}'.", "invalid_request_error"
            )
        self.cancelled += 1
        batch.status = "cancelling"
        return json_reply(_record(batch))

    def _advance(self, batch: _Batch) -> None:
        """A look at a batch: the more of them, the further it is."""
        if batch.status in TERMINAL:
            return
        batch.looks += 1
        total = len(batch.requests)
        if batch.ending == "failed":
            batch.status = "failed"
        elif batch.status == "cancelling":
            self._end(batch, "cancelled", total * (batch.looks - 1) // max(self._script.polls, 1))
        elif batch.looks >= self._script.polls:
            share = total if batch.ending == "completed" else total // 2
            self._end(batch, batch.ending, share)
        else:
            batch.status = "in_progress"
            done = total * batch.looks // self._script.polls
            batch.counts = {"total": total, "completed": done, "failed": 0}

    def _end(self, batch: _Batch, status: str, share: int) -> None:
        """Answer the first `share` requests, and write the files."""
        good: list[str] = []
        bad: list[str] = []
        for line in batch.requests[:share]:
            behaviour, http, body = self._play(
                line["body"], line["custom_id"], line["url"].endswith("/chat/completions")
            )
            add_answer(line["custom_id"], behaviour, http, body, good, bad)
        code = "batch_expired" if status == "expired" else "batch_cancelled"
        for line in batch.requests[share:]:
            error = {"code": code, "message": f"This request was not executed: {code}"}
            bad.append(line_of(line["custom_id"], None, error))
        batch.status = status
        total = len(batch.requests)
        batch.counts = {"total": total, "completed": len(good), "failed": total - len(good)}
        for name, lines in (("output_file_id", good), ("error_file_id", bad)):
            if lines:
                text = "\n".join(reversed(lines)) + "\n"
                batch.files[name] = self.files.add(text.encode(), f"{batch.id}_{name}.jsonl")


_ROUTES = {
    ("POST", "files", 1, ""): "upload",
    ("GET", "files", 1, ""): "files",
    ("GET", "files", 3, "content"): "content",
    ("DELETE", "files", 2, ""): "delete",
    ("POST", "batches", 1, ""): "create",
    ("GET", "batches", 1, ""): "batches",
    ("GET", "batches", 2, ""): "poll",
    ("POST", "batches", 3, "cancel"): "cancel",
}


def _record(batch: _Batch) -> dict[str, Any]:
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.asked.get("endpoint", ""),
        "input_file_id": batch.asked.get("input_file_id", ""),
        "completion_window": batch.asked.get("completion_window", ""),
        "created_at": batch.created_at,
        "status": batch.status,
        "metadata": batch.asked.get("metadata"),
        "request_counts": batch.counts,
        "errors": {"object": "list", "data": batch.errors} if batch.status == "failed" else None,
        **batch.files,
    }
