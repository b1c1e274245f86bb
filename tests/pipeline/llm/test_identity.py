from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.errors import UsageError
from pipeline.llm import select
from pipeline.llm.identity import identify
from pipeline.llm.select import open_backend
from tests.pipeline.tokens.gguf import write_gguf


@pytest.mark.parametrize("name", ["grammar", "scripted"])
def test_it_is_who_the_backend_is(name: str) -> None:
    chosen = open_backend(name)
    identity = identify(name)
    assert (identity.model, identity.style) == (chosen.backend.model, chosen.backend.style)
    assert not identity.uses_llm


def test_a_server_needs_no_key_to_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    identity = identify("openai", "gpt-4o-mini")
    assert (identity.model, identity.style, identity.weights) == ("gpt-4o-mini", "chat", None)
    assert identity.concurrency == select.SERVER_CONCURRENCY


def test_a_local_model_is_known_by_its_content(tmp_path: Path) -> None:
    from pipeline.llm.weights import model_name

    weights = write_gguf(tmp_path / "m.gguf", {"a": 1})
    identity = identify("local", str(weights), "chat")
    assert (identity.model, identity.style) == (model_name(weights), "chat")
    assert identity.weights == weights


def test_a_model_must_be_named_where_there_are_many() -> None:
    with pytest.raises(UsageError, match="--model NAME"):
        identify("openai")


def test_engines_here_read_a_prompt_for_each_continuation() -> None:
    assert identify("openai", "m").reads_again(5) == 1
