from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.errors import DamagedError, UsageError
from pipeline.llm import weights as weights_module
from pipeline.llm.weights import find_weights, model_name


def test_a_model_is_known_by_its_name_and_its_content(tmp_path: Path) -> None:
    weights = tmp_path / "tiny.Q4.gguf"
    weights.write_bytes(b"GGUF" + bytes(1000))
    name = model_name(weights)
    assert name.startswith("tiny.Q4@")
    moved = tmp_path / "elsewhere"
    moved.mkdir()
    (moved / weights.name).write_bytes(weights.read_bytes())
    assert model_name(moved / weights.name) == name
    weights.write_bytes(b"GGUF" + bytes(999) + b"x")
    assert model_name(weights) != name


def test_a_model_that_is_not_there_or_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the model"):
        find_weights(str(tmp_path / "none.gguf"))
    (tmp_path / "text.gguf").write_text("hello")
    with pytest.raises(DamagedError, match="not a GGUF model"):
        find_weights(str(tmp_path / "text.gguf"))


def test_the_weights_package_is_found_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "weights_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(weights_module, "WEIGHTS_PACKAGE", package.name)
    assert find_weights() == package / "model.gguf"
