"""With a fake module `vllm`; the real one is in `test_contract.py` and `test_vllm_processes.py`."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cache_store.errors import (
    BadAnswerError,
    MissingDependencyError,
    RemoteError,
    UsageError,
)
from pipeline.llm.base import Answer, AttemptFailed
from pipeline.llm.vllm_api import EngineSettings
from pipeline.llm.vllm_engine import VllmBackend
from prompts.request import Request
from tests.pipeline.llm import fake_vllm
from tests.pipeline.llm.fake_vllm import Engine
from tests.pipeline.llm.requests import chat_request, completion_request

HUB = EngineSettings("Qwen/Qwen3-8B")


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> list[Engine]:
    """The engines that are started; `settings` of the first may be changed by `prepare`."""
    started: list[Engine] = []

    def start(arguments: fake_vllm.AsyncEngineArgs) -> Engine:
        started.append(Engine(arguments, **PREPARED))
        return started[-1]

    PREPARED.clear()
    fake_vllm.install(monkeypatch, start)
    return started


PREPARED: dict[str, Any] = {}  # how the next engine behaves


def ask(*requests: Request, settings: EngineSettings = HUB) -> list[Answer]:
    """The answers of a new engine to requests that it gets at once."""

    async def at_once() -> list[Answer]:
        backend = VllmBackend(settings)
        try:
            return await asyncio.gather(*(backend.answer(request) for request in requests))
        finally:
            await backend.aclose()

    return asyncio.run(at_once())


def failure(script: Callable[[int], object], request: Request | None = None) -> BaseException:
    """How a request fails with an engine that does this."""
    PREPARED["script"] = script
    with pytest.raises((RemoteError, AttemptFailed)) as caught:
        ask(request or chat_request())
    return caught.value


def test_a_chat_request_is_held_to_its_schema(engines: list[Engine]) -> None:
    request = chat_request()
    (answer,) = ask(request)
    ((text, params, _),) = engines[0].asked
    assert all(message["content"] in text for message in request.messages)
    assert params.structured_outputs is not None
    assert params.structured_outputs.json == request.schema
    assert params.n == 1
    assert json.loads(answer.text)["captions"]
    assert (answer.finish_reason, answer.model) == ("stop", "Qwen/Qwen3-8B")


def test_a_completion_request_is_continued_as_often_as_it_wants_captions(
    engines: list[Engine],
) -> None:
    request = completion_request(per_request=3)
    (answer,) = ask(request)
    ((text, params, _),) = engines[0].asked
    assert text == request.prompt
    assert (params.n, params.max_tokens) == (3, request.max_tokens // 3)
    assert params.stop == list(request.stop)
    assert params.structured_outputs is None
    assert len(answer.text.splitlines()) == 3


def test_all_that_a_request_says_of_sampling_is_passed_on(engines: list[Engine]) -> None:
    request = chat_request()
    ask(request)
    ((_, params, _),) = engines[0].asked
    assert (params.seed, params.temperature) == (request.seed, request.temperature)
    assert (params.top_p, params.max_tokens) == (request.top_p, request.max_tokens)


def test_one_engine_has_all_requests_at_once(engines: list[Engine]) -> None:
    PREPARED["seconds"] = 0.05
    ask(*(chat_request(index) for index in range(20)))
    assert len(engines) == 1
    assert engines[0].most_at_once == 20
    assert engines[0].shut_down == 1


def test_tokens_are_counted_and_what_was_read_before_is_known(engines: list[Engine]) -> None:
    async def twice() -> tuple[Answer, int]:
        backend = VllmBackend(HUB)
        answer = await backend.answer(chat_request(0))
        await backend.answer(chat_request(1))
        await backend.aclose()
        return answer, backend.cached_tokens

    answer, cached = asyncio.run(twice())
    text = engines[0].asked[0][0]
    assert answer.prompt_tokens == len(text)
    assert answer.completion_tokens == len(answer.text)
    system = len(chat_request().messages[0]["content"])
    assert cached >= system - fake_vllm.CHUNK, "the beginning that all prompts share"


def test_the_same_request_may_be_asked_twice_at_once(engines: list[Engine]) -> None:
    ask(chat_request(), chat_request())
    assert len({number for _, _, number in engines[0].asked}) == 2


def test_nothing_is_started_before_the_first_request(engines: list[Engine]) -> None:
    backend = VllmBackend(HUB)
    assert backend.describe()["backend"] == "vllm"
    asyncio.run(backend.aclose())
    assert not engines


def test_a_request_that_nobody_waits_for_is_given_up_inside_the_engine(
    engines: list[Engine],
) -> None:
    PREPARED["seconds"] = 0.2

    async def leave() -> Answer:
        backend = VllmBackend(HUB)
        tasks = [asyncio.create_task(backend.answer(chat_request(n))) for n in range(3)]
        while not engines or len(engines[0].asked) < 3:
            await asyncio.sleep(0.01)
        tasks[0].cancel()
        tasks[1].cancel()
        answer = await tasks[2]
        await asyncio.gather(*tasks, return_exceptions=True)
        await backend.aclose()
        return answer

    assert asyncio.run(leave()).text
    assert len(engines[0].aborted) == 2


def test_a_request_given_up_while_the_engine_starts_leaves_it_to_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, go_on, started = threading.Event(), threading.Event(), []

    def start(arguments: fake_vllm.AsyncEngineArgs) -> Engine:
        begun.set()
        go_on.wait(20)
        started.append(Engine(arguments))
        return started[-1]

    fake_vllm.install(monkeypatch, start)

    async def leave() -> Answer:
        backend = VllmBackend(HUB)
        first = asyncio.create_task(backend.answer(chat_request(0)))
        await asyncio.to_thread(begun.wait, 20)
        first.cancel()
        second = asyncio.create_task(backend.answer(chat_request(1)))
        await asyncio.sleep(0)
        go_on.set()
        answer = await second
        await backend.aclose()
        return answer

    assert asyncio.run(leave()).text
    assert len(started) == 1


def test_an_engine_that_is_still_starting_is_ended_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """It starts a process that would sleep for minutes, and waits for it, as the real one does."""
    begun = threading.Event()

    def start(arguments: fake_vllm.AsyncEngineArgs) -> Engine:
        import subprocess

        with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(600)"]) as core:
            begun.set()
            core.wait()
        raise RuntimeError("Engine core initialization failed")

    fake_vllm.install(monkeypatch, start)

    async def leave() -> None:
        backend = VllmBackend(HUB)
        waiting = asyncio.create_task(backend.answer(chat_request()))
        await asyncio.to_thread(begun.wait, 20)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await backend.aclose()

    before = time.monotonic()
    asyncio.run(leave())
    assert time.monotonic() - before < 60, "it did not sleep to the end"


def test_an_engine_that_cannot_be_started_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(arguments: fake_vllm.AsyncEngineArgs) -> Engine:
        raise RuntimeError("CUDA out of memory\nand a hundred lines more")

    fake_vllm.install(monkeypatch, start)
    with pytest.raises(RemoteError, match=r"cannot load.*Qwen.*out of memory.*--gpu-memory"):
        ask(chat_request(0), chat_request(1))


def test_a_dead_engine_ends_the_run_with_a_hint(engines: list[Engine]) -> None:
    error = failure(lambda _: fake_vllm.EngineDeadError("EngineCore encountered an issue"))
    assert isinstance(error, RemoteError)
    assert "engine died" in error.message
    assert "Run the same command again" in error.message


def test_a_request_that_the_engine_never_takes_is_an_error_for_good(engines: list[Engine]) -> None:
    for refusal in (ValueError("too long"), fake_vllm.VLLMClientError("too long")):
        error = failure(lambda _, refusal=refusal: refusal)
        assert isinstance(error, BadAnswerError)
        assert "--max-model-len" in error.message


def test_other_failures_may_pass(engines: list[Engine]) -> None:
    error = failure(lambda _: RuntimeError("hiccup"))
    assert isinstance(error, AttemptFailed)
    assert (error.outcome, error.may_cost) == ("engine_error", False)
    assert "hiccup" in error.error.message


def test_an_answer_that_was_given_up_is_none(engines: list[Engine]) -> None:
    error = failure(lambda _: "abort")
    assert isinstance(error, AttemptFailed)
    assert error.outcome == "aborted"


def test_settings_reach_the_engine(engines: list[Engine]) -> None:
    ask(chat_request(), settings=EngineSettings("m/m", 1000, 0.5, 2))
    arguments = engines[0].arguments
    assert (arguments.max_model_len, arguments.gpu_memory_utilization) == (1000, 0.5)
    assert arguments.tensor_parallel_size == 2
    assert arguments.enable_prefix_caching
    assert not arguments.enforce_eager


@pytest.mark.parametrize(("own", "used"), [(2048, 2048), (131072, 4096)])
def test_the_context_is_the_models_own_or_ours(
    engines: list[Engine], monkeypatch: pytest.MonkeyPatch, own: int, used: int
) -> None:
    monkeypatch.setattr(fake_vllm.AsyncEngineArgs, "own_limit", own)
    ask(chat_request())
    assert engines[0].arguments.max_model_len == used


def test_nothing_is_reported_to_anyone(
    engines: list[Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("VLLM_NO_USAGE_STATS", "DO_NOT_TRACK"):
        monkeypatch.delenv(name, raising=False)
    import os

    ask(chat_request())
    assert os.environ["VLLM_NO_USAGE_STATS"] == os.environ["DO_NOT_TRACK"] == "1"


@pytest.fixture
def base_model(tmp_path: Path) -> Path:
    """A folder whose tokenizer has no chat template."""
    folder = tmp_path / "base-7b"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    return folder


def test_a_folder_goes_by_its_name_and_content(engines: list[Engine], base_model: Path) -> None:
    backend = VllmBackend(EngineSettings(str(base_model)))
    assert backend.model.startswith("base-7b@")
    assert str(base_model) not in backend.model + json.dumps(backend.describe())


def test_a_base_model_is_asked_to_continue_a_list(engines: list[Engine], base_model: Path) -> None:
    settings = EngineSettings(str(base_model))
    assert VllmBackend(settings).style == "completion"
    assert VllmBackend(HUB).style == "chat"
    with pytest.raises(UsageError, match="--style completion"):
        VllmBackend(settings, style="chat")


def test_a_base_model_of_a_hub_is_found_out_at_the_first_request(engines: list[Engine]) -> None:
    PREPARED["chat_template"] = None
    with pytest.raises(UsageError, match=r"no chat template.*--style completion"):
        ask(chat_request())


def test_a_template_that_fails_is_told(engines: list[Engine]) -> None:
    PREPARED["chat_template"] = "no system"
    with pytest.raises(BadAnswerError, match="System role not supported"):
        ask(chat_request())


def test_without_the_package_the_error_has_the_install_line_and_the_other_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(MissingDependencyError) as caught:
        VllmBackend(HUB)
    assert "pip install 'lqtse[vllm]'" in caught.value.message
    assert "vllm serve" in caught.value.message
    assert "--backend openai" in caught.value.message


def test_before_0_11_the_same_went_by_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    engines: list[Engine] = []

    def start(arguments: fake_vllm.AsyncEngineArgs) -> Engine:
        engines.append(Engine(arguments))
        return engines[-1]

    fake_vllm.install(monkeypatch, start, old=True, cpu=True)
    (answer,) = ask(chat_request())
    ((_, params, _),) = engines[0].asked
    assert params.guided_decoding.json == chat_request().schema  # type: ignore[attr-defined]
    assert json.loads(answer.text)["captions"]
    assert engines[0].arguments.enforce_eager, "on a CPU nothing is compiled"
