from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from types import ModuleType

import pytest

from pipeline.llm.identity import Identity, identify
from pipeline.tokens import choose
from pipeline.tokens.choose import choose_counter
from prompts.plan import Plan
from tests.pipeline.tokens.gguf import write_gguf
from tests.pipeline.tokens.test_count import transformers_folder
from tests.pipeline.tokens.test_vocabulary import byte_level


def test_the_one_that_the_user_names_comes_first(tmp_path: Path) -> None:
    named = write_gguf(tmp_path / "named.gguf", byte_level())
    assert "named.gguf" in choose_counter(identify("openai", "gpt-4o"), named).name


def test_a_local_model_counts_with_its_own(tmp_path: Path) -> None:
    weights = write_gguf(tmp_path / "m.gguf", byte_level())
    assert "m.gguf" in choose_counter(identify("local", str(weights))).name


def test_a_local_model_of_an_unknown_kind_is_estimated(tmp_path: Path) -> None:
    weights = write_gguf(tmp_path / "m.gguf", {"tokenizer.ggml.model": "bert"})
    assert choose_counter(identify("local", str(weights))).name.startswith("an estimate")


def test_a_folder_counts_with_what_lies_in_it(tmp_path: Path) -> None:
    folder = transformers_folder(tmp_path / "model")
    identity = Identity("vllm", "model", "chat", folder)
    assert str(folder) in choose_counter(identity).name


def test_the_fake_counts_as_it_reports() -> None:
    from pipeline.llm.scripted import tokens_of

    request = Plan().request(0)
    sent = "".join(message["content"] for message in request.messages)
    assert choose_counter(identify("scripted")).read(request) == tokens_of(sent)


class FakeEncoding:
    def encode(self, text: str, disallowed_special: tuple[str, ...]) -> list[str]:
        return text.split()


@pytest.fixture
def tiktoken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A stand-in for tiktoken that must not be asked for what it does not have; its folder."""
    fake = ModuleType("tiktoken")
    fake.__spec__ = choose.importlib.util.spec_from_loader("tiktoken", None)
    names = {"gpt-4o": "o200k_base"}
    fake.__dict__["encoding_name_for_model"] = names.__getitem__
    fake.__dict__["get_encoding"] = lambda name: FakeEncoding()
    monkeypatch.setitem(sys.modules, "tiktoken", fake)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    return tmp_path


# tiktoken's name for the file of o200k_base.
FILE = "fb374d419588a4632f3f557e76b4b70aebbca790"


def test_tiktoken_counts_where_its_file_is_there_and_whole(
    tiktoken: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tiktoken / FILE).write_bytes(b"ranks")
    digest = hashlib.sha256(b"ranks").hexdigest()
    monkeypatch.setitem(choose.CONTENT, "o200k_base", digest)
    counter = choose_counter(identify("openai", "gpt-4o"))
    assert counter.name == "tiktoken, o200k_base"
    assert counter.text("a dog barks") == 3


def test_tiktoken_is_never_made_to_fetch(tiktoken: Path) -> None:
    assert choose_counter(identify("openai", "gpt-4o")).name.startswith("an estimate")
    (tiktoken / FILE).write_bytes(b"damaged")
    assert choose_counter(identify("openai", "gpt-4o")).name.startswith("an estimate")
    assert choose_counter(identify("openai", "some-other")).name.startswith("an estimate")
