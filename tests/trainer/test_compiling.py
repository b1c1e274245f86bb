from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from trainer.compiling import compiled

ROOT = Path(__file__).parents[2]

TRY = """
import torch
from trainer.compiling import compiled
model = torch.nn.Linear(3, 2)
assert compiled(model, torch.device("cpu")) is model
"""


def test_without_a_compiler_the_model_is_left_as_it_is_with_one_line(tmp_path: Path) -> None:
    # A process of its own, in which there is no compiler to be found.
    environment = {"PATH": str(tmp_path), "CXX": str(tmp_path / "none"), "PYTHONPATH": str(ROOT)}
    environment["TORCHINDUCTOR_CACHE_DIR"] = str(tmp_path / "compiled")
    words = [sys.executable, "-c", TRY]
    done = subprocess.run(words, env=environment, text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("`compile` does not work here, so it is left out") == 1
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_what_is_compiled_is_the_same_model(monkeypatch: pytest.MonkeyPatch) -> None:
    # torch's own backend that traces and does not generate code: whatever compiler there is.
    compile_ = torch.compile
    monkeypatch.setattr(torch, "compile", lambda model: compile_(model, backend="eager"))
    model = torch.nn.Linear(3, 2)
    faster = compiled(model, torch.device("cpu"))
    values = torch.randn(4, 3)
    torch.testing.assert_close(faster(values), model(values))
    assert {id(p) for p in faster.parameters()} == {id(p) for p in model.parameters()}
