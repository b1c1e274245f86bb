from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import DamagedError, UsageError
from pipeline.llm.weights import find_weights
from pipeline.tokens.gguf import read_metadata
from tests.pipeline.tokens.gguf import write_gguf

PAIRS: dict[str, Any] = {
    "general.architecture": "llama",
    "add": True,
    "count": 49152,
    "scale": 0.5,
    "words": ["a", "Ġ t", "é漢"],
    "numbers": [1, 2, 3],
    "scores": [-1.0, 0.25],
    "none": [],
}


def test_pairs_are_what_was_written(tmp_path: Path) -> None:
    assert read_metadata(write_gguf(tmp_path / "m.gguf", PAIRS)) == PAIRS


def test_a_cut_file_is_damaged_wherever_it_is_cut(tmp_path: Path) -> None:
    path = write_gguf(tmp_path / "m.gguf", PAIRS)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedError, match="not a whole GGUF model"):
            read_metadata(path)


@given(place=st.integers(0, 10_000), bit=st.integers(0, 7))
def test_a_flipped_bit_is_read_or_told_and_takes_no_memory(
    tmp_path_factory: pytest.TempPathFactory, place: int, bit: int
) -> None:
    path = write_gguf(tmp_path_factory.mktemp("gguf") / "m.gguf", PAIRS)
    data = bytearray(path.read_bytes())
    data[place % len(data)] ^= 1 << bit
    path.write_bytes(data)
    with suppress(DamagedError):
        assert isinstance(read_metadata(path), dict)


def test_another_version_is_not_guessed_at(tmp_path: Path) -> None:
    with pytest.raises(DamagedError, match="version 9"):
        read_metadata(write_gguf(tmp_path / "m.gguf", PAIRS, version=9))


def test_a_missing_file_is_a_users_mistake(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the model"):
        read_metadata(tmp_path / "none.gguf")


@pytest.mark.local_llm
def test_a_real_model_says_what_it_is() -> None:
    metadata = read_metadata(find_weights())
    assert metadata["general.architecture"] == "llama"
    assert len(metadata["tokenizer.ggml.tokens"]) == 49152
    assert "<|im_start|>" in metadata["tokenizer.chat_template"]
