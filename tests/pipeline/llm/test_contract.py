"""What every backend promises, checked on every backend: the fakes, and the real ones.

The real ones have a small real language model (`make test-local`, `make test-vllm`), so what it
says cannot be known beforehand; that an answer belongs to its request can. A completion request
repeats a word of its own until any model goes on with it, and a chat request's schema allows no
other word.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from cache_store.errors import LqtseError
from pipeline.llm.base import CUT, Answer, AttemptFailed, Backend, PromptStyle
from pipeline.llm.grammar import GrammarBackend
from pipeline.llm.local import LocalBackend
from pipeline.llm.openai_server import OpenAIBackend
from pipeline.llm.scripted import ScriptedBackend
from pipeline.llm.scripted_server import ScriptedServer
from pipeline.llm.vllm_api import EngineSettings
from pipeline.llm.vllm_engine import VllmBackend
from pipeline.llm.weights import find_weights
from prompts.request import Request
from tests.pipeline.llm import fake_vllm, real_servers
from tests.pipeline.llm.requests import chat_request, completion_request

SECRET = "sk-secret-0123456789abcdef"
WORDS = ("kettle", "thunder", "violin", "tractor", "whistle", "engine", "river", "hammer")
FOLDER_VARIABLE = "LQTSE_VLLM_MODEL"  # a folder to run instead of the small model's

T = TypeVar("T")


@dataclass(frozen=True)
class Case:
    """A backend, and what it promises beyond what all do.

    A real one takes both forms of request, and is started once for both.

    Attributes:
        open: Makes one; what it needs is started on the stack, in a folder of its own.
        style: The form of request to send.
        schema: Whether it holds a chat answer to its schema.
        tokens: Whether it has tokens, and so counts and a limit.
        seeded: Whether the same seed gives the same answer, asked once more alone.
        fails: Makes one whose answers fail; None where nothing can.
        kept: Under which name it is kept for its other style; "" where starting it costs nothing.
    """

    open: Callable[[ExitStack, Path], Callable[[], Backend]]
    style: PromptStyle = "chat"
    schema: bool = True
    tokens: bool = True
    seeded: bool = True
    fails: Callable[[ExitStack], Backend] | None = None
    kept: str = ""


def _unreachable(stack: ExitStack) -> Backend:
    taken = stack.enter_context(socket.socket())  # bound and not listening
    taken.bind(("127.0.0.1", 0))
    return OpenAIBackend("m", base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1")


def _openai(
    style: PromptStyle, *, structured: bool = True
) -> Callable[[ExitStack, Path], Callable[[], Backend]]:
    def start(stack: ExitStack, folder: Path) -> Callable[[], Backend]:
        server = stack.enter_context(ScriptedServer(structured=structured, key=SECRET))
        return lambda: OpenAIBackend("scripted", base_url=server.url, api_key=SECRET, style=style)

    return start


def _fake_vllm(stack: ExitStack, folder: Path) -> Callable[[], Backend]:
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    fake_vllm.install(patch)
    return lambda: VllmBackend(EngineSettings("Fake/Model"))


def _local(stack: ExitStack, folder: Path) -> Callable[[], Backend]:
    return lambda: LocalBackend.load(find_weights(), engines=2)


def _llama_server(stack: ExitStack, folder: Path) -> Callable[[], Backend]:
    url = stack.enter_context(real_servers.llama_server())
    return lambda: OpenAIBackend(real_servers.MODEL, base_url=url)


def _model_folder(folder: Path) -> Path:
    return real_servers.make_folder(Path(os.environ.get(FOLDER_VARIABLE) or folder / "smollm2"))


def _vllm(stack: ExitStack, folder: Path) -> Callable[[], Backend]:
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    for name, value in real_servers.MEMORY.items():
        patch.setenv(name, value)
    settings = EngineSettings(str(_model_folder(folder)), max_model_len=2048)
    return lambda: VllmBackend(settings)


def _vllm_server(stack: ExitStack, folder: Path) -> Callable[[], Backend]:
    url = stack.enter_context(real_servers.vllm_server(_model_folder(folder)))
    return lambda: OpenAIBackend(real_servers.MODEL, base_url=url)


def _missing_weights(stack: ExitStack) -> Backend:
    patch = stack.enter_context(pytest.MonkeyPatch.context())
    fake_vllm.install(patch, lambda _: 1 / 0)  # type: ignore[arg-type, return-value]
    return VllmBackend(EngineSettings("Fake/Model"))


CASES = [
    pytest.param(
        Case(
            lambda *_: ScriptedBackend,
            fails=lambda _: ScriptedBackend(["server_error"]),
        ),
        id="scripted-chat",
    ),
    pytest.param(
        Case(lambda *_: lambda: ScriptedBackend(style="completion"), style="completion"),
        id="scripted-completion",
    ),
    pytest.param(Case(lambda *_: GrammarBackend, tokens=False), id="grammar"),
    pytest.param(Case(_openai("chat"), fails=_unreachable), id="openai-chat"),
    pytest.param(Case(_openai("chat", structured=False), schema=False), id="openai-chat-in-words"),
    pytest.param(Case(_openai("completion"), style="completion"), id="openai-completion"),
    pytest.param(Case(_fake_vllm, fails=_missing_weights), id="vllm-fake-chat"),
    pytest.param(Case(_fake_vllm, style="completion"), id="vllm-fake-completion"),
    *(
        pytest.param(Case(kind, style, seeded=seeded, kept=name), id=f"{name}-{style}", marks=mark)
        for name, kind, seeded, mark in (
            # llama.cpp does not read again what a prompt shares with the one before it, so the
            # same prompt may be summed in another order the second time.
            ("local", _local, False, pytest.mark.local_llm),
            ("llama-server", _llama_server, False, pytest.mark.local_llm),
            ("vllm", _vllm, True, pytest.mark.vllm),
            ("vllm-server", _vllm_server, True, pytest.mark.vllm),
        )
        for style in ("chat", "completion")
    ),
]


@dataclass
class Subject:
    """A started backend with the event loop that it lives in."""

    case: Case
    make: Callable[[], Backend]
    backend: Backend
    run: Callable[[Coroutine[Any, Any, Any]], Any]

    def request(self, word: str, *, max_tokens: int = 40) -> Request:
        """A request that is answered with `word` and hardly anything else, always the same."""
        shape: dict[str, Any] = {"concepts": (word,), "max_tokens": max_tokens, "count": 1}
        index = WORDS.index(word)
        shape |= {"id": f"{index:032x}", "temperature": 0.0, "axes": {}, "aliases": ((),)}
        if self.case.style == "completion":
            line = f"{word}: {word}"
            prompt = "\n".join([line] * 6) + f"\n{word}:"
            return replace(completion_request(index), prompt=prompt, start="", **shape)
        asked = chat_request(index)
        user = f"Write 1 caption, for another recording of: {word}."
        schema = {
            "type": "object",
            "properties": {
                "captions": {
                    "type": "array",
                    "items": {"type": "string", "enum": [word]},
                    "minItems": 1,
                    "maxItems": 1,
                }
            },
            "required": ["captions"],
            "additionalProperties": False,
        }
        messages = (asked.messages[0], {"role": "user", "content": user})
        return replace(asked, messages=messages, schema=schema, **shape)


@dataclass
class Pool:
    """What costs time to start, and is started once.

    Attributes:
        stack: Where it is started.
        folder: A folder for it.
        run: The event loop that all of it lives in.
        backends: What was made, and how, by name.
    """

    stack: ExitStack
    folder: Path
    run: Callable[[Coroutine[Any, Any, Any]], Any]
    backends: dict[str, tuple[Callable[[], Backend], Backend]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pool]:
    """Closed, twice, when all tests are done."""
    loop = asyncio.new_event_loop()
    with ExitStack() as stack:
        pool = Pool(stack, tmp_path_factory.mktemp("models"), loop.run_until_complete)
        yield pool
        for _, backend in pool.backends.values():
            pool.run(backend.aclose())
            pool.run(backend.aclose())
        loop.close()


@pytest.fixture(scope="module", params=CASES)
def subject(request: pytest.FixtureRequest, pool: Pool) -> Iterator[Subject]:
    """Each backend in turn."""
    case: Case = request.param
    if case.kept:
        if case.kept not in pool.backends:
            make = case.open(pool.stack, pool.folder)
            pool.backends[case.kept] = make, make()
        yield Subject(case, *pool.backends[case.kept], pool.run)
        return
    with ExitStack() as stack:
        make = case.open(stack, pool.folder)
        backend = make()
        yield Subject(case, make, backend, pool.run)
        pool.run(backend.aclose())
        pool.run(backend.aclose())


async def _all(backend: Backend, requests: list[Request]) -> list[Answer]:
    return await asyncio.gather(*(backend.answer(request) for request in requests))


def words_of(text: str) -> set[str]:
    """The words of an answer that some request asked for; a plural counts."""
    return {word for word in WORDS if re.search(rf"\b{word}s?\b", text)}


def test_answers_belong_to_their_requests(subject: Subject) -> None:
    answers = subject.run(_all(subject.backend, [subject.request(word) for word in WORDS]))
    for word, answer in zip(WORDS, answers, strict=True):
        assert words_of(answer.text) == {word}, answer
        if subject.case.style == "chat":
            assert len(json.loads(answer.text)["captions"]) == 1


def test_an_answer_says_why_it_ended_who_gave_it_and_how_many_tokens(subject: Subject) -> None:
    answer = subject.run(subject.backend.answer(subject.request("kettle")))
    assert answer.finish_reason == "stop"
    assert answer.model
    assert (answer.prompt_tokens > 0) is subject.case.tokens
    assert (0 < answer.completion_tokens <= 40) is subject.case.tokens


def test_an_answer_that_runs_into_its_limit_says_so(subject: Subject) -> None:
    if not subject.case.tokens:
        pytest.skip("has no tokens")
    request = replace(subject.request("kettle", max_tokens=2), stop=())
    answer = subject.run(subject.backend.answer(request))
    assert answer.finish_reason == CUT
    assert 0 < answer.completion_tokens <= 2


def test_a_plan_s_own_request_is_answered(subject: Subject) -> None:
    ask = chat_request if subject.case.style == "chat" else completion_request
    request = replace(ask(3), max_tokens=64)
    answer = subject.run(subject.backend.answer(request))
    assert answer.text.strip()
    assert answer.finish_reason in ("stop", CUT)
    if subject.case.schema and subject.case.style == "chat":
        assert answer.text.lstrip().startswith("{")


def test_several_captions_of_a_completion_are_several_lines(subject: Subject) -> None:
    if subject.case.style != "completion":
        pytest.skip("a chat answer holds all of its captions")
    request = replace(subject.request("kettle", max_tokens=60), count=3, temperature=0.3)
    answer = subject.run(subject.backend.answer(request))
    assert len(answer.text.splitlines()) == 3


def test_the_same_seed_gives_the_same_answer_where_that_is_promised(subject: Subject) -> None:
    if not subject.case.seeded:
        pytest.skip("not promised: the ledger makes a rerun exact")
    ask = chat_request if subject.case.style == "chat" else completion_request
    texts = {subject.run(subject.backend.answer(ask(5))).text for _ in range(3)}
    assert len(texts) == 1


def test_a_request_given_up_does_not_disturb_later_ones(subject: Subject) -> None:
    async def leave() -> Answer:
        tasks = [
            asyncio.create_task(subject.backend.answer(subject.request(word))) for word in WORDS[:4]
        ]
        await asyncio.sleep(0)
        for task in tasks[:3]:
            task.cancel()
        kept = await tasks[3]
        await asyncio.gather(*tasks[:3], return_exceptions=True)
        again = await subject.backend.answer(subject.request(WORDS[0]))
        assert words_of(again.text) == {WORDS[0]}
        return kept

    assert words_of(subject.run(leave()).text) == {WORDS[3]}


def test_its_description_is_json_and_holds_no_secret(subject: Subject) -> None:
    described = json.dumps(subject.backend.describe(), allow_nan=False)
    assert json.loads(described)["backend"] == subject.backend.name
    shown = described + repr(subject.backend) + subject.backend.model
    assert SECRET not in shown
    assert str(Path.home()) not in shown


def test_closing_twice_is_harmless_also_before_anything_was_asked(subject: Subject) -> None:
    backend = subject.make()
    subject.run(backend.aclose())
    subject.run(backend.aclose())


def test_what_fails_fails_with_an_error_of_ours(subject: Subject) -> None:
    if subject.case.fails is None:
        pytest.skip("nothing of its own can fail, or its chat form shows it")
    with ExitStack() as stack:
        backend = subject.case.fails(stack)
        with pytest.raises((LqtseError, AttemptFailed)) as caught:
            subject.run(backend.answer(subject.request("kettle")))
        subject.run(backend.aclose())
    error = caught.value.error if isinstance(caught.value, AttemptFailed) else caught.value
    assert error.exit_code == 5
    assert "\n" not in error.message
