from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cache_store.errors import StorageError
from trainer.journal import Journal, read_history
from trainer.run import RunFolder


def steps(folder: RunFolder) -> list[int]:
    return [line["step"] for line in read_history(folder)]


def test_lines_are_told_in_order_and_at_once(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with Journal(folder, 0) as journal:
        journal.tell(1, "train", {"loss": 0.5})
        assert read_history(folder) == [{"step": 1, "kind": "train", "loss": 0.5}]
        journal.tell(2, "valid", {"sdri": 1.0})
    assert steps(folder) == [1, 2]


def test_going_on_drops_what_was_told_beyond_the_step(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with Journal(folder, 0) as journal:
        for step in range(1, 6):
            journal.tell(step, "train", {"loss": 0.0})
    with Journal(folder, 3) as journal:
        assert steps(folder) == [1, 2, 3]
        journal.tell(4, "train", {"loss": 0.0})
    assert steps(folder) == [1, 2, 3, 4]


def test_a_line_that_a_crash_cut_short_is_dropped(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.history.write_text('{"step": 1, "kind": "train"}\n{"step": 2, "ki')
    assert steps(folder) == [1]
    with Journal(folder, 9) as journal:
        journal.tell(3, "train", {})
    assert steps(folder) == [1, 3]


def test_a_sound_beyond_full_scale_can_be_played(tmp_path: Path) -> None:
    with Journal(RunFolder(tmp_path), 0) as journal:
        journal.play(1, {"loud": 5 * torch.ones(100), "silent": torch.zeros(100)}, 8000)


def test_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("trainer.journal.replace_file", refuse)
    with pytest.raises(StorageError, match="permission denied"):
        Journal(RunFolder(tmp_path), 0)
