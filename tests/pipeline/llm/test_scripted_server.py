"""What any HTTP client sees: the standard library's, so that ours is not its own oracle."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Any
from urllib.parse import urlsplit

import pytest

from pipeline.llm.scripted_server import ScriptedServer

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Write 3 captions"}]}


def post(
    server: ScriptedServer, path: str = "/chat/completions", body: Any = CHAT, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """Status, headers and content of one answer."""
    place = urlsplit(server.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=5)
    try:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request("POST", place.path + path, data, sent)
        reply = connection.getresponse()
        content = reply.read()
        return reply.status, dict(reply.getheaders()), content
    finally:
        connection.close()


def test_a_chat_completion_has_the_form_of_the_protocol() -> None:
    with ScriptedServer(model="fake") as server:
        status, headers, content = post(server)
    reply = json.loads(content)
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    assert reply["object"] == "chat.completion"
    assert reply["model"] == "fake"
    (choice,) = reply["choices"]
    assert choice["finish_reason"] == "stop"
    assert len(json.loads(choice["message"]["content"])["captions"]) == 3
    usage = reply["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"] > 0


def test_a_text_completion_has_the_form_of_the_protocol() -> None:
    with ScriptedServer() as server:
        status, _, content = post(server, "/completions", {"model": "m", "prompt": "rain:"})
    reply = json.loads(content)
    assert (status, reply["object"]) == (200, "text_completion")
    assert "rain" in reply["choices"][0]["text"]


def test_models_are_listed() -> None:
    with ScriptedServer(model="fake") as server:
        assert json.loads(post(server, "/models")[2])["data"] == [{"id": "fake"}]


def test_one_connection_carries_many_requests() -> None:
    with ScriptedServer() as server:
        place = urlsplit(server.url)
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=5)
        for _ in range(3):
            connection.request("POST", "/v1/chat/completions", json.dumps(CHAT))
            assert connection.getresponse().read()
        connection.close()
    assert server.calls.total() == 3


def test_requests_are_counted_by_their_idempotency_key_or_else_by_their_body() -> None:
    with ScriptedServer() as server:
        post(server, Idempotency_Key="one")
        post(server, Idempotency_Key="one")
        post(server)
        post(server, body={**CHAT, "seed": 1})
    assert server.calls["one"] == 2
    assert sorted(server.calls.values()) == [1, 1, 2]


@pytest.mark.parametrize(
    ("options", "status", "says"),
    [
        ({"script": ["rate_limit"], "retry_after": 2.5}, 429, b"slow down"),
        ({"script": ["server_error"], "message": "boom"}, 500, b"boom"),
        ({"script": ["unauthorized"]}, 401, b"no such key"),
        ({"key": "right"}, 401, b"Incorrect API key provided: wrong"),
        ({"refuses": ("model",)}, 400, b'"param": "model"'),
        ({"script": ["not_an_api"]}, 200, b"<html>"),
    ],
)
def test_failures_look_like_those_of_a_server(
    options: dict[str, Any], status: int, says: bytes
) -> None:
    with ScriptedServer(**options) as server:
        got, headers, content = post(server, Authorization="Bearer wrong")
    assert got == status
    assert says in content
    assert headers.get("Retry-After") == ("2.5" if status == 429 else None)


def test_a_body_that_is_no_json_and_a_path_that_is_not_there_are_refused() -> None:
    with ScriptedServer() as server:
        assert post(server, body=b"{")[0] == 400
        assert post(server, "/embeddings")[0] == 404


def test_a_dropped_answer_is_shorter_than_promised() -> None:
    with ScriptedServer(["drop"]) as server, pytest.raises(http.client.IncompleteRead):
        post(server)


def test_a_hanging_request_does_not_hold_up_others_or_the_end() -> None:
    with ScriptedServer(["hang", "good"]) as server:
        ended: list[type[Exception]] = []

        def hangs() -> None:
            try:
                post(server)
            except (http.client.HTTPException, OSError) as error:
                ended.append(type(error))

        thread = threading.Thread(target=hangs)
        thread.start()
        while not server.calls.total():
            pass
        assert post(server)[0] == 200
    thread.join(5)
    assert len(ended) == 1, "the end of the server ends the connection"
    assert server.most_at_once == 2
