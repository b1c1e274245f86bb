from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from cache_store.errors import DamagedError, UsageError
from pipeline.llm.model_folder import can_chat, find_folder, folder_name


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as Hugging Face's libraries write it."""
    path = tmp_path / "Tiny-7B"
    path.mkdir()
    (path / "config.json").write_text('{"model_type": "llama"}')
    (path / "tokenizer_config.json").write_text("{}")
    (path / "model.safetensors").write_bytes(bytes(1000))
    return path


def test_a_folder_is_found_and_a_name_on_a_hub_is_none(folder: Path) -> None:
    assert find_folder(str(folder)) == folder
    assert find_folder("Qwen/Qwen3-8B") is None
    assert find_folder("gpt2") is None


@pytest.mark.parametrize("name", ["./no-such", "/no/such/folder", "a/b/c", "~/no-such", "a b", ""])
def test_a_path_that_is_not_there_is_told_before_anything_is_fetched(name: str) -> None:
    with pytest.raises((UsageError, DamagedError)):
        find_folder(name)


def test_a_gguf_file_belongs_to_another_backend(tmp_path: Path) -> None:
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    with pytest.raises(UsageError, match="--backend local"):
        find_folder(str(tmp_path / "m.gguf"))


def test_a_folder_without_a_model_is_told(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match=r"config\.json"):
        find_folder(str(tmp_path))


def test_the_name_follows_the_content_and_not_the_place(folder: Path, tmp_path: Path) -> None:
    name = folder_name(folder)
    assert name.startswith("Tiny-7B@")
    moved = tmp_path / "elsewhere" / folder.name
    shutil.copytree(folder, moved)
    assert folder_name(moved) == name
    assert str(tmp_path) not in name
    (moved / "README.md").write_text("words")
    assert folder_name(moved) == name, "what shapes no answer is no part of it"


@pytest.mark.parametrize(
    "change",
    [
        ("model.safetensors", b"\1" + bytes(999)),
        ("model.safetensors", bytes(999) + b"\1"),
        ("config.json", b"{}"),
        ("chat_template.jinja", b"{{ messages }}"),
    ],
)
def test_another_content_is_another_name(folder: Path, change: tuple[str, bytes]) -> None:
    name = folder_name(folder)
    (folder / change[0]).write_bytes(change[1])
    assert folder_name(folder) != name


def test_a_chat_template_lies_beside_the_tokenizer_or_in_its_settings(folder: Path) -> None:
    assert not can_chat(folder)
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    assert can_chat(folder)
    (folder / "tokenizer_config.json").write_text("not json")
    assert not can_chat(folder)
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert can_chat(folder)
