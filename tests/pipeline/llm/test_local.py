"""With a fake runner, and once with the real one (`-m local_llm`)."""

from __future__ import annotations

import asyncio
import itertools
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from cache_store.errors import BadAnswerError, DamagedError, MissingDependencyError
from pipeline.llm.base import Answer, PromptStyle
from pipeline.llm.local import LocalBackend, prompt_of
from pipeline.llm.weights import find_weights, model_name
from prompts.request import Request
from tests.pipeline.llm.requests import chat_request, completion_request


class FakeServer:
    """Answers as xllamacpp does; remembers what it was asked, and by which thread."""

    def __init__(self, *, seconds: float = 0.0, finish_reason: str = "stop") -> None:
        self.asked: list[dict[str, Any]] = []
        self.threads: set[str] = set()
        self.seconds = seconds
        self.finish_reason = finish_reason

    def handle_completions(self, asked: dict[str, Any]) -> dict[str, Any]:
        return self._reply(asked, {"text": f" caption {asked['seed']}"})

    def handle_chat_completions(self, asked: dict[str, Any]) -> dict[str, Any]:
        return self._reply(asked, {"message": {"content": '{"captions": ["a dog barks"]}'}})

    def _reply(self, asked: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
        time.sleep(self.seconds)
        self.asked.append(asked)
        self.threads.add(threading.current_thread().name)
        return {
            "choices": [{"finish_reason": self.finish_reason, **said}],
            "usage": {"prompt_tokens": 7, "completion_tokens": 3},
        }


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.Q4.gguf"
    path.write_bytes(b"GGUF" + bytes(1000))
    return path


def fake(weights: Path, *servers: FakeServer, style: PromptStyle = "completion") -> LocalBackend:
    """A backend whose engines are these."""
    return LocalBackend(weights, iter(servers).__next__, len(servers), style=style)


def ask(backend: LocalBackend, *requests: Request) -> list[Answer]:
    async def at_once() -> list[Answer]:
        try:
            return await asyncio.gather(*(backend.answer(request) for request in requests))
        finally:
            await backend.aclose()

    return asyncio.run(at_once())


def test_a_completion_request_is_continued(weights: Path) -> None:
    server, request = FakeServer(), completion_request()
    (answer,) = ask(fake(weights, server), request)
    (asked,) = server.asked
    assert asked["prompt"] == request.prompt
    assert asked["stop"] == ["\n"]
    assert asked["max_tokens"] == request.max_tokens
    assert (asked["temperature"], asked["top_p"]) == (request.temperature, request.top_p)
    assert answer.text == f" caption {request.seed}"
    assert answer.model == model_name(weights)


def test_several_captions_are_several_continuations_with_seeds_of_their_own(weights: Path) -> None:
    server, request = FakeServer(), completion_request(per_request=3)
    (answer,) = ask(fake(weights, server), request)
    assert [asked["seed"] for asked in server.asked] == [request.seed + n for n in range(3)]
    assert {asked["max_tokens"] for asked in server.asked} == {request.max_tokens // 3}
    assert len(answer.text.splitlines()) == 3
    assert (answer.prompt_tokens, answer.completion_tokens) == (21, 9)


def test_a_chat_request_is_held_to_its_schema(weights: Path) -> None:
    server, request = FakeServer(finish_reason="length"), chat_request()
    (answer,) = ask(fake(weights, server, style="chat"), request)
    (asked,) = server.asked
    assert asked["messages"] == list(request.messages)
    assert asked["response_format"]["schema"] == request.schema
    assert answer.text == '{"captions": ["a dog barks"]}'
    assert answer.finish_reason == "length"


def test_engines_work_side_by_side_one_request_each(weights: Path) -> None:
    servers = [FakeServer(seconds=0.02) for _ in range(2)]
    answers = ask(fake(weights, *servers), *(completion_request(n) for n in range(12)))
    assert len(answers) == 12
    assert sum(len(server.asked) for server in servers) == 12
    assert all(server.asked for server in servers)


def test_an_engine_stays_with_the_beginning_it_has_read(weights: Path) -> None:
    # Requests of one block share their examples, and blocks are 16 long.
    servers = [FakeServer(seconds=0.01) for _ in range(2)]
    requests = [completion_request(n) for n in range(32)]
    ask(fake(weights, *servers), *requests)
    blocks = {request.prompt: n // 16 for n, request in enumerate(requests)}
    for server in servers:
        order = [blocks[asked["prompt"]] for asked in server.asked]
        changes = sum(a != b for a, b in itertools.pairwise(order))
        assert changes <= 1, f"went back and forth: {order}"


def test_nothing_is_loaded_before_the_first_request(weights: Path) -> None:
    def never() -> None:
        raise AssertionError("loaded")

    backend = LocalBackend(weights, never, 2)
    assert backend.concurrency > 2
    assert backend.describe()["engines"] == 2
    asyncio.run(backend.aclose())


def test_an_error_of_the_runner_is_told(weights: Path) -> None:
    class Full(FakeServer):
        def handle_completions(self, asked: dict[str, Any]) -> dict[str, Any]:
            return {"error": {"code": 400, "message": "exceeds the available context size"}}

    with pytest.raises(BadAnswerError, match="context size"):
        ask(fake(weights, Full()), completion_request())


def test_a_request_that_nobody_waits_for_is_not_begun(weights: Path) -> None:
    server = FakeServer(seconds=0.05)
    backend = fake(weights, server)

    async def leave() -> None:
        tasks = [asyncio.create_task(backend.answer(completion_request(n))) for n in range(4)]
        await tasks[0]
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks[1:], return_exceptions=True)
        await backend.aclose()

    asyncio.run(leave())
    assert len(server.asked) <= 2, "the one that was answered, and the one already begun"


def test_without_the_runner_the_error_has_the_install_line(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "xllamacpp", None)
    with pytest.raises(MissingDependencyError) as caught:
        LocalBackend.load(weights)
    assert "pip install 'lqtse[local]'" in caught.value.message


@pytest.mark.local_llm
def test_a_real_model_writes_and_the_same_seed_writes_the_same() -> None:
    requests = [completion_request(n) for n in range(3)]
    first, second = (ask(LocalBackend.load(find_weights(), engines=1), *requests) for _ in range(2))
    assert [answer.text for answer in first] == [answer.text for answer in second]
    assert any(answer.text.strip() for answer in first)
    assert all(0 < answer.completion_tokens <= requests[0].max_tokens for answer in first)
    assert prompt_of(requests[0]) not in first[0].text


@pytest.mark.local_llm
def test_weights_that_cannot_be_loaded_are_told_in_one_line(weights: Path) -> None:
    with pytest.raises(DamagedError, match="cannot load the model"):
        ask(LocalBackend.load(weights, engines=1), completion_request())
