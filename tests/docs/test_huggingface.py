"""What docs/huggingface.md shows is run, block by block, in a folder that holds a cache."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import datasets
import pytest
import torch

from tests.cache_store.builders import DIM, add_step, captions
from tests.pipeline.cli.conftest import Cli, cli

__all__ = ["cli"]

PAGE = Path(__file__).parents[2] / "docs" / "huggingface.md"


def blocks(language: str) -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the page's cache in it."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.chdir(tmp_path)
    add_step(tmp_path / "captions", 12)
    add_step(tmp_path / "captions", 9, first=12)
    return tmp_path


# datasets leaves its streaming files to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.usefixtures("here")
def test_the_python_runs_and_gives_what_its_comments_say(
    capsys: pytest.CaptureFixture[str],
) -> None:
    names: dict[str, Any] = {}
    found = blocks("python")
    assert len(found) == 4
    for code in found:
        exec(code, names)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith(captions(1)[0])
    assert said[1] == f"torch.Size([{DIM}])"
    assert said[2] == "torch.float16"
    assert next(iter(names["stream"]))["embedding"].dtype == torch.float32
    assert names["half"][:8]["embedding"].shape == (8, DIM)
    assert names["dataset"]["caption"][:] == names["rows"]["caption"][:] == captions(21)


def test_the_commands_run(here: Path, cli: Cli) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) == 5
    for line in lines:
        words = shlex.split(line)
        assert words[0] == "lqtse-cache"
        outcome = cli(*words[1:])
        assert outcome.code == 0, outcome.err
    written = sorted(path.name for path in here.iterdir() if path.name.startswith("captions."))
    assert written == ["captions.csv", "captions.jsonl", "captions.lance", "captions.parquet"]
