from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from cache_store.errors import (
    DamagedError,
    DataError,
    MismatchError,
    UsageError,
    VersionMismatchError,
)
from tests.trainer.world import SPACE
from trainer.run import RunFolder, load_model, read_record, write_record


def test_a_record_survives_being_written(run: Path, tmp_path: Path) -> None:
    record = read_record(RunFolder(run))
    assert (record.space, record.strategy, record.model) == (SPACE, "top1", "small")
    write_record(RunFolder(tmp_path), record)
    assert read_record(RunFolder(tmp_path)) == record


def test_a_run_holds_what_the_design_says(run: Path) -> None:
    assert {path.name for path in run.iterdir()} == {
        "config.toml",
        "run.json",
        "checkpoints",
        "history.jsonl",
        "tensorboard",
        "rejects.csv",
    }
    assert {path.name for path in (run / "checkpoints").iterdir()} == {
        "last.safetensors",
        "best.safetensors",
    }


def test_no_run_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no run here.*lqtse train --out"):
        read_record(RunFolder(tmp_path))


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"format": "1", "no": 1}', '{"format": "1"'])
def test_a_damaged_record_is_told(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(DamagedError):
        read_record(RunFolder(tmp_path))


def test_a_record_of_another_version_is_told(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"format": "2"}))
    with pytest.raises(VersionMismatchError, match="expected 1, found 2"):
        read_record(RunFolder(tmp_path))


def test_a_model_is_ready_for_inference(run: Path) -> None:
    model, record = load_model(RunFolder(run), "last")
    assert not model.training
    assert model(torch.zeros(1, 4000), torch.zeros(1, record.space.dim)).shape == (1, 4000)


def test_without_a_best_checkpoint_the_last_is_taken(run: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    (copy / "checkpoints" / "best.safetensors").unlink()
    best, last = load_model(RunFolder(copy)), load_model(RunFolder(run), "last")
    theirs = last[0].state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in best[0].state_dict().items())


def test_a_checkpoint_of_another_size_is_refused(run: Path, tmp_path: Path) -> None:
    copy = RunFolder(shutil.copytree(run, tmp_path / "run"))
    record = read_record(copy)
    write_record(copy, replace(record, sizes={**record.sizes, "channels": [8, 8]}))
    with pytest.raises(MismatchError, match="another model"):
        load_model(copy)


def test_only_best_and_last_are_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no such checkpoint: first .expected best \| last"):
        RunFolder(tmp_path).checkpoint("first")
