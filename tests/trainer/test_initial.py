"""`--init` and `lqtse init`: weights that were trained elsewhere."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cache_store.errors import (
    DamagedError,
    DataError,
    LqtseError,
    MismatchError,
    SpaceMismatchError,
    UsageError,
)
from tests.trainer.models.audiosep_files import audiosep_state, small, write
from tests.trainer.world import DIM, World
from trainer.checkpoint import load_checkpoint
from trainer.config import TrainConfig
from trainer.initial import make_run, read_audiosep, read_initial
from trainer.run import RunFolder, load_model, read_record
from trainer.separate import Separator
from trainer.training import train


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write(tmp_path / "audiosep.ckpt", small(DIM))


def settings(world: World, out: Path, init: str, **changes: Any) -> TrainConfig:
    """A run whose separator is that of `small`."""
    given = {
        "model": "resunet",
        "sizes": "channels=4,6",
        "sample_rate": 32_000,
        "steps": 1,
        "valid_where": "",
        "valid_every": 1,
    }
    return world.config(out=str(out), init=init, **{**given, **changes})


def test_a_checkpoint_is_read_whole_and_what_else_it_holds_is_named(checkpoint: Path) -> None:
    initial = read_initial(f"audiosep:{checkpoint}")
    expected = small(DIM).state_dict()
    assert initial.weights.keys() == expected.keys()
    assert all(torch.equal(initial.weights[name], expected[name]) for name in expected)
    assert (initial.model, initial.sizes) == ("resunet", {"channels": [4, 6]})
    assert (initial.sample_rate, initial.condition_dim) == (32_000, DIM)
    assert initial.left == "1 tensors of query_encoder, epoch"


def test_safetensors_are_read_too(tmp_path: Path) -> None:
    save_file(audiosep_state(small(DIM)), tmp_path / "a.safetensors")
    read = read_audiosep(tmp_path / "a.safetensors")
    assert read.size.channels == (4, 6)
    assert read.left == {}


class Touch:
    """Unpickled without care, this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def test_code_in_a_checkpoint_is_refused_and_never_run(tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    path = write(tmp_path / "a.ckpt", small(DIM), callbacks=Touch(trap))
    with pytest.raises(DamagedError, match="never unpickled unsafely") as caught:
        read_audiosep(path)
    assert "found an object of " in caught.value.message
    (tmp_path / "b.ckpt").write_bytes(pickle.dumps(Touch(trap)))
    with pytest.raises(DamagedError):
        read_audiosep(tmp_path / "b.ckpt")
    assert not trap.exists()


def test_objects_of_a_training_tool_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys
    import types

    module = types.ModuleType("lightning.pytorch.callbacks")
    state = type("State", (), {"__module__": module.__name__})
    module.State = state  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lightning", types.ModuleType("lightning"))
    monkeypatch.setitem(sys.modules, "lightning.pytorch", types.ModuleType("lightning.pytorch"))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    kept = state()
    kept.best = 3
    path = write(tmp_path / "a.ckpt", small(DIM), callbacks={"best": kept}, lr=np.float64(0.1))
    monkeypatch.delitem(sys.modules, module.__name__)
    assert set(read_audiosep(path).left) == {"query_encoder", "epoch", "callbacks", "lr"}


@pytest.mark.parametrize(
    ("content", "error"),
    [(b"", DamagedError), (b"RIFF and so on", DamagedError), (None, DataError)],
)
def test_other_files_are_told(
    tmp_path: Path, content: bytes | None, error: type[LqtseError]
) -> None:
    for name in ("a.ckpt", "a.safetensors"):
        if content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(error):
            read_audiosep(tmp_path / name)


def test_training_begins_with_the_weights_and_says_so(
    world: World, checkpoint: Path, tmp_path: Path
) -> None:
    # A rate of zero: what is trained is what was read, but for the running statistics.
    config = settings(world, tmp_path / "run", f"audiosep:{checkpoint}", lr=1e-30)
    train(config)
    trained = load_checkpoint(RunFolder(tmp_path / "run").last).model
    for name, tensor in small(DIM).named_parameters():
        torch.testing.assert_close(trained[name], tensor.detach(), rtol=0, atol=1e-20)
    record = read_record(RunFolder(tmp_path / "run"))
    assert record.init["source"] == f"audiosep:{checkpoint}"
    assert len(record.init["sha256"]) == 64


def test_a_run_begins_with_the_weights_of_another(world: World, tmp_path: Path) -> None:
    first = world.config(out=str(tmp_path / "first"), steps=2)
    train(first)
    second = first.replace(out=str(tmp_path / "second"), init=first.out, steps=1, lr=1e-30)
    train(second)
    before, _ = load_model(RunFolder(tmp_path / "first"))
    after, _ = load_model(RunFolder(tmp_path / "second"))
    for tensor, new in zip(before.parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(tensor, new, rtol=0, atol=1e-20)


def test_a_run_that_goes_on_does_not_need_the_file_again(
    world: World, checkpoint: Path, tmp_path: Path
) -> None:
    config = settings(world, tmp_path / "run", f"audiosep:{checkpoint}", steps=2)
    train(config)
    checkpoint.unlink()
    train(config, resume=True)


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"model": "small", "sizes": ""}, "--model resunet"),
        ({"sample_rate": 8000}, "--sample-rate 32000"),
        ({"sizes": "channels=4,8"}, '--sizes "channels=4,6"'),
    ],
)
def test_settings_of_another_separator_are_refused_with_those_that_fit(
    world: World, checkpoint: Path, tmp_path: Path, changes: dict[str, Any], hint: str
) -> None:
    config = settings(world, tmp_path / "run", f"audiosep:{checkpoint}", **changes)
    with pytest.raises(UsageError) as caught:
        train(config)
    assert hint in caught.value.message
    assert not (tmp_path / "run" / "run.json").exists()


def test_conditions_of_another_size_are_refused(world: World, tmp_path: Path) -> None:
    path = write(tmp_path / "a.ckpt", small(DIM + 1))
    with pytest.raises(MismatchError, match="another size"):
        train(settings(world, tmp_path / "run", f"audiosep:{path}"))


def test_a_run_is_made_of_a_checkpoint_and_separates(tmp_path: Path) -> None:
    from cache_store.spaces import load_space

    dim = load_space("tiny", device="cpu").dim
    path = write(tmp_path / "audiosep.ckpt", small(dim))
    run = tmp_path / "run"
    make_run(RunFolder(run), f"audiosep:{path}", "tiny", device="cpu")
    separator = Separator.load(run, device="cpu")
    noise = np.random.default_rng(0).normal(size=16_000).astype(np.float32) * 0.1
    estimate = separator.separate(noise, 32_000, query="a dog barks")
    condition = torch.from_numpy(load_space("tiny", device="cpu").embed_text(["a dog barks"]))
    with torch.no_grad():
        expected = small(dim)(torch.from_numpy(noise)[None], condition)[0].numpy()
    np.testing.assert_allclose(estimate, expected, rtol=0, atol=1e-5)


def test_a_run_is_not_made_where_there_is_one(run: Path, checkpoint: Path) -> None:
    with pytest.raises(UsageError, match="holds a run"):
        make_run(RunFolder(run), f"audiosep:{checkpoint}", "tiny", device="cpu")


def test_a_space_of_another_size_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(SpaceMismatchError, match=f"{DIM} values"):
        make_run(RunFolder(tmp_path / "run"), f"audiosep:{checkpoint}", "tiny", device="cpu")
    assert not (tmp_path / "run").exists()


def test_weights_that_were_not_trained_here_are_not_trained_over(
    world: World, tmp_path: Path
) -> None:
    from cache_store.spaces import load_space

    path = write(tmp_path / "a.ckpt", small(load_space("tiny", device="cpu").dim))
    make_run(RunFolder(tmp_path / "run"), f"audiosep:{path}", "tiny", device="cpu")
    with pytest.raises(UsageError, match="--init"):
        train(settings(world, tmp_path / "run", ""))


def test_a_file_that_is_not_said_to_be_audioseps_is_told_how(checkpoint: Path) -> None:
    for spec in (str(checkpoint), "missing.ckpt"):
        with pytest.raises(UsageError, match=f"audiosep:.*{Path(spec).name}"):
            read_initial(spec)
