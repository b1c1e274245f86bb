"""What the client of the openai package sees, in its blocking form, which lqtse does not use."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest

from pipeline.llm.scripted_batches import FAULTS, STEPS, BatchScript
from pipeline.llm.scripted_server import ScriptedServer


def line(custom_id: str, **body: Any) -> dict[str, Any]:
    asked = {"model": "m", "messages": [{"role": "user", "content": "Write 2 captions"}], **body}
    return {
        "custom_id": custom_id,
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": asked,
    }


@contextmanager
def served(
    script: list[str] | None = None,
    key: str | None = None,
    refuses: tuple[str, ...] = (),
    **how: Any,
) -> Iterator[tuple[ScriptedServer, openai.OpenAI]]:
    with (
        ScriptedServer(
            script or ["good"], key=key, refuses=refuses, batches=BatchScript(**how)
        ) as server,
        openai.OpenAI(base_url=server.url, api_key="right", max_retries=0) as client,
    ):
        yield server, client


def submit(client: openai.OpenAI, lines: list[dict[str, Any]], **metadata: str) -> Any:
    text = "".join(json.dumps(one) + "\n" for one in lines).encode()
    file = client.files.create(file=("in.jsonl", io.BytesIO(text)), purpose="batch")
    return client.batches.create(
        input_file_id=file.id,
        endpoint="/v1/chat/completions",
        completion_window="24h",
        metadata=metadata,
    )


def answers(client: openai.OpenAI, file_id: str | None) -> dict[str, Any]:
    """The lines of a file by custom id, in the file's order."""
    if file_id is None:
        return {}
    lines = [json.loads(text) for text in client.files.content(file_id).text.splitlines()]
    return {one["custom_id"]: one for one in lines}


def test_a_batch_goes_from_upload_to_answers() -> None:
    with served(polls=3) as (server, client):
        batch = submit(client, [line("a"), line("b"), line("c")], plan="p")
        assert (batch.status, batch.metadata) == ("validating", {"plan": "p"})
        seen = [client.batches.retrieve(batch.id) for _ in range(3)]
        assert [one.status for one in seen] == ["in_progress", "in_progress", "completed"]
        assert [one.request_counts.completed for one in seen] == [1, 2, 3]
        got = answers(client, seen[-1].output_file_id)
        assert list(got) == ["c", "b", "a"], "no order is promised"
        body = got["a"]["response"]["body"]
        assert len(json.loads(body["choices"][0]["message"]["content"])["captions"]) == 2
        assert body["usage"]["total_tokens"] > 0
        assert seen[-1].error_file_id is None
    assert server.batches.files.uploaded == ["in.jsonl"]
    assert server.batches.created == [{"plan": "p"}]
    assert server.batches.sizes == [3]
    assert server.calls == {"a": 1, "b": 1, "c": 1}


def test_behaviours_become_lines() -> None:
    script = ["good", "rate_limit", "server_error", "hang", "drop", "not_an_api", "refusal"]
    with served(script) as (_, client):
        batch = submit(client, [line(name) for name in script])
        batch = client.batches.retrieve(batch.id)
        failed = answers(client, batch.error_file_id)
        statuses = {
            name: (one["response"] or {}).get("status_code") for name, one in failed.items()
        }
        assert statuses == {"rate_limit": 429, "server_error": 500, "hang": None}
        assert failed["hang"]["error"]["code"] == "request_timeout"
        refusal, damaged, good = client.files.content(batch.output_file_id).text.splitlines()
        assert json.loads(refusal)["custom_id"] == "refusal"
        assert json.loads(good)["custom_id"] == "good"
        with pytest.raises(ValueError, match=r"Unterminated|Expecting"):
            json.loads(damaged)
        assert batch.request_counts.model_dump() == {"total": 7, "completed": 3, "failed": 4}


def test_a_refused_parameter_is_named_in_its_line() -> None:
    with served(refuses=("seed",)) as (_, client):
        batch = client.batches.retrieve(submit(client, [line("a", seed=3)]).id)
        one = answers(client, batch.error_file_id)["a"]["response"]
    assert (one["status_code"], one["body"]["error"]["param"]) == (400, "seed")


@pytest.mark.parametrize(
    ("ending", "code"), [("expired", "batch_expired"), ("cancelled", "batch_cancelled")]
)
def test_half_a_batch_is_answered_when_it_ends_early(ending: str, code: str) -> None:
    with served(endings=(ending, "completed")) as (_, client):
        batch = client.batches.retrieve(submit(client, [line(name) for name in "abcd"]).id)
        assert batch.status == ending
        assert sorted(answers(client, batch.output_file_id)) == ["a", "b"]
        codes = {k: v["error"]["code"] for k, v in answers(client, batch.error_file_id).items()}
        assert codes == {"c": code, "d": code}
        assert client.batches.retrieve(submit(client, [line("e")]).id).status == "completed"


def test_a_cancelled_batch_keeps_what_it_has() -> None:
    with served(polls=4) as (server, client):
        batch = submit(client, [line(name) for name in "abcd"])
        client.batches.retrieve(batch.id)
        assert client.batches.cancel(batch.id).status == "cancelling"
        batch = client.batches.retrieve(batch.id)
        assert batch.status == "cancelled"
        assert sorted(answers(client, batch.output_file_id)) == ["a"]
        with pytest.raises(openai.ConflictError):
            client.batches.cancel(batch.id)
    assert server.batches.cancelled == 1


def test_batches_can_be_refused_as_a_whole() -> None:
    with served(endings=("failed:model_not_found",)) as (_, client):
        batch = client.batches.retrieve(submit(client, [line("a")]).id)
        assert batch.status == "failed"
        assert batch.errors.data[0].code == "model_not_found"
        assert batch.output_file_id is None


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([line("a"), line("a")], "duplicate_custom_id"),
        ([{"custom_id": "a"}], "invalid_json_line"),
        ([{**line("a"), "url": "/v1/embeddings"}], "invalid_url"),
        ([], "empty_file"),
    ],
)
def test_input_is_checked_as_the_real_server_does(lines: list[dict[str, Any]], code: str) -> None:
    with served() as (_, client):
        batch = client.batches.retrieve(submit(client, lines).id)
    assert (batch.status, batch.errors.data[0].code) == ("failed", code)


def test_more_requests_than_may_wait_fail_the_batch() -> None:
    with served(most_requests=2) as (_, client):
        first = submit(client, [line("a"), line("b")])
        second = submit(client, [line("c")])
        assert client.batches.retrieve(second.id).errors.data[0].code == "token_limit_exceeded"
        assert client.batches.retrieve(first.id).status == "completed"
        assert client.batches.retrieve(submit(client, [line("c")]).id).status == "completed"


def test_lists_come_in_pages_newest_first() -> None:
    with served() as (_, client):
        ids = [submit(client, [line(str(number))]).id for number in range(5)]
        page = client.batches.list(limit=2)
        assert [one.id for one in page.data] == ids[:2:-1]
        assert page.has_more
        assert [one.id for one in client.batches.list(limit=2)] == ids[::-1]
        assert len(list(client.files.list(limit=3, purpose="batch"))) == 5
        assert list(client.files.list(purpose="fine-tune")) == []


def test_files_can_be_read_and_deleted() -> None:
    with served() as (server, client):
        content = b"one\r\n--two\r\n\r\n\x00\xff three\n"
        file = client.files.create(file=("a b.jsonl", io.BytesIO(content)), purpose="batch")
        assert (file.filename, file.bytes) == ("a b.jsonl", len(content))
        assert client.files.content(file.id).content == content
        assert client.files.delete(file.id).deleted
        assert server.batches.files.stored == {}
        for gone in (client.files.content, client.files.delete):
            with pytest.raises(openai.NotFoundError):
                gone(file.id)
        with pytest.raises(openai.BadRequestError, match="Cannot find file"):
            client.batches.create(
                input_file_id=file.id, endpoint="/v1/embeddings", completion_window="24h"
            )
        with pytest.raises(openai.NotFoundError):
            client.batches.retrieve("batch_x")


def test_faults_come_in_turn() -> None:
    events: list[str] = []
    faults = {"create": ["server_error", "lost", "rate_limit"], "content": ["cut"]}
    with served(faults=faults, watch=events.append) as (server, client):
        for error in (openai.InternalServerError, openai.APIConnectionError, openai.RateLimitError):
            with pytest.raises(error):
                submit(client, [line("a")])
        assert len(server.batches.created) == 1, "a lost answer: it was done all the same"
        batch = client.batches.retrieve(submit(client, [line("a")]).id)
        with pytest.raises(openai.APIError):
            client.files.content(batch.output_file_id)
        assert client.files.content(batch.output_file_id).content
    assert set(STEPS) >= {event.split(" ")[1] for event in events}
    assert events[:4] == ["before upload", "after upload", "before create", "before upload"]
    assert server.batches.calls["create"] == 4
    assert "lost" in FAULTS


def test_a_wrong_key_is_refused_here_too() -> None:
    with served(key="another") as (_, client), pytest.raises(openai.AuthenticationError):
        client.batches.list()


def test_the_same_calls_bring_another_server_to_the_same_state() -> None:
    calls: list[tuple[Any, ...]] = []
    with served(record=lambda *call: calls.append(call)) as (server, client):
        one = submit(client, [line("a"), line("b")], round="r")
        ended = client.batches.retrieve(one.id)
        client.files.delete(ended.input_file_id)
    other = ScriptedServer()
    for call in calls:
        assert other.batches.handle(*call) is not None
    assert [method for method, *_ in calls] == ["POST", "POST", "GET", "DELETE"]
    assert other.batches.files.stored == server.batches.files.stored
    assert other.batches.created == server.batches.created == [{"round": "r"}]
    assert other.calls == server.calls
