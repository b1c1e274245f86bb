from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn

from cache_store.errors import DamagedError, DataError, MismatchError, StorageError
from trainer.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_weights,
    optimizer_tensors,
    random_states,
    restore_optimizer,
    restore_random,
    save_checkpoint,
)


def trained(steps: int = 3) -> tuple[nn.Module, torch.optim.Optimizer]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    for step in range(steps):
        advance(model, optimizer, step)
    return model, optimizer


def advance(model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    inputs = torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
    optimizer.zero_grad()
    model(inputs).square().mean().backward()
    optimizer.step()


def save(path: Path) -> Checkpoint:
    model, optimizer = trained()
    checkpoint = Checkpoint(
        3,
        model.state_dict(),
        optimizer_tensors(model, optimizer),
        random_states(),
        {"best": {"sdri": 1.25}},
    )
    save_checkpoint(path, checkpoint)
    return checkpoint


def test_what_was_saved_is_loaded_bit_by_bit(tmp_path: Path) -> None:
    saved = save(tmp_path / "last.safetensors")
    loaded = load_checkpoint(tmp_path / "last.safetensors")
    assert (loaded.step, loaded.state) == (3, {"best": {"sdri": 1.25}})
    for group in ("model", "optimizer", "random"):
        ours, theirs = getattr(saved, group), getattr(loaded, group)
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_training_goes_on_as_if_it_had_not_stopped(tmp_path: Path) -> None:
    save(tmp_path / "last.safetensors")
    loaded = load_checkpoint(tmp_path / "last.safetensors")
    straight, optimizer = trained(3)
    resumed, fresh = trained(0)
    load_weights(resumed, loaded.model, tmp_path)
    restore_optimizer(resumed, fresh, loaded.optimizer)
    for step in range(3, 6):
        advance(straight, optimizer, step)
        advance(resumed, fresh, step)
    theirs = resumed.state_dict()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in straight.state_dict().items())


def test_the_random_state_comes_back() -> None:
    with torch.random.fork_rng():
        states = random_states()
        expected = torch.rand(3)
        restore_random(states)
        assert torch.equal(torch.rand(3), expected)


def test_a_pickle_under_the_name_of_a_checkpoint_is_never_opened(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "opened"),)

    for name, write in (
        ("plain", lambda path: path.write_bytes(pickle.dumps(Bomb()))),
        ("zipped", lambda path: torch.save(Bomb(), path)),
    ):
        path = tmp_path / f"{name}.safetensors"
        write(path)
        with pytest.raises(DataError, match="not a checkpoint of lqtse, and never unpickled"):
            load_checkpoint(path)
    assert not (tmp_path / "opened").exists()


def test_somebody_elses_safetensors_is_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="not a checkpoint of lqtse"):
        load_checkpoint(tmp_path / "other.safetensors")


def test_a_missing_one_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no such checkpoint.*lqtse train"):
        load_checkpoint(tmp_path / "last.safetensors")


@pytest.mark.parametrize("part", ["header", "tensors"])
def test_a_flipped_bit_or_a_cut_is_found(tmp_path: Path, part: str) -> None:
    path = tmp_path / "last.safetensors"
    save(path)
    data = bytearray(path.read_bytes())
    if part == "tensors":
        data[-1] ^= 1
        path.write_bytes(data)
        with pytest.raises(DamagedError, match="does not match its hash"):
            load_checkpoint(path)
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError):
        load_checkpoint(path)


def test_weights_of_another_model_are_refused(tmp_path: Path) -> None:
    saved = save(tmp_path / "last.safetensors")
    with pytest.raises(MismatchError, match="another model"):
        load_weights(nn.Linear(3, 4), saved.model, tmp_path)
    wider = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 1))
    with pytest.raises(MismatchError, match="another model"):
        load_weights(wider, saved.model, tmp_path)


def test_a_disk_that_cannot_be_written_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "last.safetensors"
    save(path)
    before = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(StorageError, match="the disk is full"):
        save(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["last.safetensors"]
