"""That the fake `vllm` of the tests is like the real one, where that is installed."""

from __future__ import annotations

import dataclasses
import inspect
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline.llm import vllm_api
from tests.pipeline.llm import fake_vllm


def test_an_engine_is_ended_with_patience_where_it_knows_how_and_only_once() -> None:
    ended: list[object] = []
    newer = SimpleNamespace(shutdown=lambda timeout=None: ended.append(timeout))
    older = SimpleNamespace(shutdown=lambda: ended.append("at once"))
    for engine in (newer, older):
        vllm_api.stop(engine, 3.0)
        engine.shutdown()  # as when it is collected
    assert ended == [3.0, "at once"]


def names_of(thing: Any) -> set[str]:
    """The parameters of a callable, or the attributes of a class."""
    found = (
        {name for kind in thing.__mro__ for name in vars(kind)} if inspect.isclass(thing) else {}
    )
    return {*inspect.signature(thing).parameters, *found}


@pytest.mark.vllm
@pytest.mark.parametrize(
    ("fake", "real"),
    [
        (fake_vllm.SamplingParams, "vllm.SamplingParams"),
        (fake_vllm.StructuredOutputsParams, "vllm.sampling_params.StructuredOutputsParams"),
        (fake_vllm.AsyncEngineArgs, "vllm.AsyncEngineArgs"),
    ],
)
def test_what_we_pass_is_taken_by_the_real_one(fake: Any, real: str) -> None:
    wanted = {field.name for field in dataclasses.fields(fake)}
    assert wanted <= names_of(find(real)), real


@pytest.mark.vllm
def test_what_we_call_is_there_and_takes_the_same() -> None:
    engine = find("vllm.AsyncLLMEngine")
    for name in ("generate", "get_tokenizer", "shutdown"):
        fake = inspect.signature(getattr(fake_vllm.Engine, name)).parameters
        assert set(fake) <= set(inspect.signature(getattr(engine, name)).parameters), name
    assert inspect.isasyncgenfunction(engine.generate)
    assert isinstance(inspect.getattr_static(engine, "errored"), property)
    assert "engine_args" in inspect.signature(engine.from_engine_args).parameters
    assert callable(find("vllm.AsyncEngineArgs").create_model_config)
    assert isinstance(find("vllm.platforms.current_platform").is_cpu(), bool)
    assert find("vllm.sampling_params.RequestOutputKind").FINAL_ONLY
    assert issubclass(
        find("vllm.exceptions.VLLMValidationError"), find("vllm.exceptions.VLLMClientError")
    )


@pytest.mark.vllm
def test_what_we_read_of_an_answer_is_there() -> None:
    output = inspect.signature(find("vllm.RequestOutput")).parameters
    assert {"prompt_token_ids", "num_cached_tokens", "outputs"} <= set(output)
    one = inspect.signature(find("vllm.CompletionOutput")).parameters
    assert {"text", "token_ids", "finish_reason"} <= set(one)
    assert vllm_api.prompt([1, 2])["prompt_token_ids"] == [1, 2]


def find(name: str) -> Any:
    """A thing of the real package by its full name."""
    import importlib

    vllm_api.load()
    module, _, last = name.rpartition(".")
    return getattr(importlib.import_module(module), last)
