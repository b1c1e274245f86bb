from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cache_store.errors import DamagedError, UsageError
from pipeline.llm.weights import find_weights
from pipeline.tokens.count import gguf_tokenizer, read_tokenizer
from pipeline.tokens.vocabulary import read_vocabulary
from prompts.plan import Plan
from tests.pipeline.tokens.gguf import write_gguf
from tests.pipeline.tokens.test_vocabulary import byte_level

TEMPLATE = (
    "{% for m in messages %}<s>{{ m['content'] }}{% endfor %}{{ '<s>' if add_generation_prompt }}"
)
MESSAGES = ({"role": "system", "content": "the"}, {"role": "user", "content": "bar"})


def transformers_folder(folder: Path, **config: Any) -> Path:
    folder.mkdir()
    vocabulary = read_vocabulary(byte_level())
    assert vocabulary is not None
    vocabulary.tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_a_gguf_model_counts_with_its_own_tokenizer_and_chat_template(tmp_path: Path) -> None:
    pairs = byte_level(**{"tokenizer.chat_template": TEMPLATE})
    counter = read_tokenizer(write_gguf(tmp_path / "m.gguf", pairs))
    assert (counter.text("the bar"), counter.prompt("the bar")) == (3, 3)
    assert counter.chat(MESSAGES) == 5  # <s>the<s>bar<s>
    assert (counter.error, counter.name) == (0.0, "the tokenizer in m.gguf")


def test_what_stands_before_a_text_is_counted_once(tmp_path: Path) -> None:
    begins = {"tokenizer.ggml.add_bos_token": True}
    plain = read_tokenizer(write_gguf(tmp_path / "a.gguf", byte_level(**begins)))
    assert (plain.text("the"), plain.prompt("the")) == (1, 2)
    pairs = byte_level(**begins, **{"tokenizer.chat_template": TEMPLATE})
    templated = read_tokenizer(write_gguf(tmp_path / "b.gguf", pairs))
    assert templated.chat(MESSAGES) == 5


@pytest.mark.parametrize(
    "template",
    ["{% for", "{{ raise_exception('no system messages') }}", "{{ messages.missing() }}"],
)
def test_a_template_that_does_not_work_is_estimated_and_said(tmp_path: Path, template: str) -> None:
    pairs = byte_level(**{"tokenizer.chat_template": template})
    counter = read_tokenizer(write_gguf(tmp_path / "m.gguf", pairs))
    assert "chat format estimated" in counter.name
    assert counter.chat(MESSAGES) == 1 + 1 + 2 * 4 + 3
    assert counter.error > 0


def test_a_template_reaches_nothing_of_this_process(tmp_path: Path) -> None:
    attack = "{{ ''.__class__.__mro__[1].__subclasses__() }}"
    counter = read_tokenizer(
        write_gguf(tmp_path / "m.gguf", byte_level(**{"tokenizer.chat_template": attack}))
    )
    assert "chat format estimated" in counter.name


@pytest.mark.parametrize("place", ["config", "named", "file"])
def test_a_folder_of_transformers(tmp_path: Path, place: str) -> None:
    config: dict[str, Any] = {
        "config": {"chat_template": TEMPLATE},
        "named": {"chat_template": [{"name": "default", "template": TEMPLATE}]},
        "file": {},
    }[place]
    folder = transformers_folder(tmp_path / "model", **config)
    if place == "file":
        (folder / "chat_template.jinja").write_text(TEMPLATE)
    counter = read_tokenizer(folder)
    assert (counter.chat(MESSAGES), counter.error) == (5, 0.0)


def test_a_tokenizer_alone_knows_no_chat_format(tmp_path: Path) -> None:
    folder = transformers_folder(tmp_path / "model")
    counter = read_tokenizer(folder / "tokenizer.json")
    assert counter.text("the bar") == 3
    assert "chat format estimated" in counter.name


def test_a_request_is_counted_as_it_is_sent(tmp_path: Path) -> None:
    pairs = byte_level(**{"tokenizer.chat_template": TEMPLATE})
    counter = read_tokenizer(write_gguf(tmp_path / "m.gguf", pairs))
    chat, line = Plan().request(0), Plan(template="completion.v1").request(0)
    assert counter.read(chat) == counter.chat(chat.messages)
    assert counter.read(line) == counter.prompt(line.prompt)


def test_what_is_not_there_or_no_tokenizer_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such tokenizer"):
        read_tokenizer(tmp_path / "none.json")
    with pytest.raises(UsageError, match=r"expected tokenizer\.json"):
        read_tokenizer(tmp_path)
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(DamagedError, match="not a tokenizer"):
        read_tokenizer(tmp_path / "t.json")
    with pytest.raises(UsageError, match="of a kind that is not known here"):
        read_tokenizer(write_gguf(tmp_path / "m.gguf", {"tokenizer.ggml.model": "bert"}))


def test_a_vocabulary_that_makes_no_sense_is_damaged(tmp_path: Path) -> None:
    pairs = byte_level(**{"tokenizer.ggml.merges": ["nobody knows"]})
    with pytest.raises(DamagedError, match="the model's tokenizer is damaged"):
        gguf_tokenizer(write_gguf(tmp_path / "m.gguf", pairs))


@pytest.mark.local_llm
def test_the_small_model_has_a_template_that_works() -> None:
    counter = gguf_tokenizer(find_weights())
    assert counter is not None
    assert (counter.error, counter.name) == (0.0, f"the tokenizer in {find_weights().name}")
