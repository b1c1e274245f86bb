"""Curves at Weights & Biases, with a stand-in for its client and, where installed, the real one."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from cache_store.errors import MissingDependencyError, UsageError
from tests.trainer.world import World
from trainer.run import RunFolder
from trainer.tracking import tracking_id
from trainer.training import train

ROOT = Path(__file__).parents[2]
KEY = "0123456789abcdef" * 2 + "01234567"


class Client(types.ModuleType):
    """What we use of `wandb`: `init`, `Settings`, and the run's `log` and `finish`."""

    def __init__(self, refuse: str = "") -> None:
        super().__init__("wandb")
        self.__spec__ = importlib.util.spec_from_loader("wandb", None)
        self.refuse = refuse
        self.runs: list[dict[str, Any]] = []
        self.told: list[tuple[int, dict[str, float]]] = []
        self.codes: list[int] = []

    def Settings(self, **values: Any) -> dict[str, Any]:
        return values

    def init(self, **values: Any) -> Client:
        if self.refuse:
            raise RuntimeError(self.refuse)
        self.runs.append(values)
        return self

    def log(self, values: dict[str, float], *, step: int) -> None:
        self.told.append((step, values))

    def finish(self, *, exit_code: int) -> None:
        self.codes.append(exit_code)


def test_the_numbers_of_a_run_are_told_and_a_resume_goes_on_with_them(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client()
    monkeypatch.setitem(sys.modules, "wandb", client)
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    config = world.config(out=str(tmp_path / "run"), wandb="sounds")
    from trainer import loop

    save = loop.save_checkpoint

    def break_off(path: Path, checkpoint: Any) -> None:
        if checkpoint.step == 4:
            raise UsageError("broken off")
        save(path, checkpoint)

    monkeypatch.setattr(loop, "save_checkpoint", break_off)
    with pytest.raises(UsageError, match="broken off"):
        train(config)
    monkeypatch.setattr(loop, "save_checkpoint", save)
    train(config, resume=True)
    first, second = client.runs
    assert first["project"] == "sounds" and first["config"]["strategy"] == "top1"
    assert first["id"] == second["id"] == tracking_id(RunFolder(tmp_path / "run"))
    assert client.codes == [1, 0]
    steps = [step for step, values in client.told if "train/loss" in values]
    assert steps == [1, 2, 3, 4, 3, 4]
    assert any("valid/sdri" in values for _, values in client.told)
    assert KEY not in repr(client.runs) + repr(client.told)

    # A finished run has nothing more to tell, and another name of the project is no other run.
    train(config.replace(wandb="else"), resume=True)
    assert len(client.runs) == 2


def test_two_runs_alike_in_all_but_their_folder_are_two(run: Path, tmp_path: Path) -> None:
    other = shutil.copytree(run, tmp_path / "run")
    text = (other / "config.toml").read_text()
    (other / "config.toml").write_text(text.replace(str(run), str(other)))
    assert tracking_id(RunFolder(run)) != tracking_id(RunFolder(other))


def test_a_refusal_is_one_line_without_the_key(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", Client(refuse=f"no such key:\n{KEY}"))
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    with pytest.raises(UsageError, match=r"found no such key: \*\*\*.*wandb login") as caught:
        train(world.config(out=str(tmp_path / "run"), wandb="sounds"))
    assert KEY not in caught.value.message
    assert caught.value.__cause__ is None


def test_without_the_package_nothing_is_begun(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: None if name == "wandb" else find(name, *rest),
    )
    with pytest.raises(MissingDependencyError, match=r"pip install 'lqtse\[wandb\]'"):
        train(world.config(out=str(tmp_path / "run"), wandb="sounds"))
    assert not (tmp_path / "run").exists()


def test_offline_the_real_client_writes_to_the_run_folder_and_no_key(
    world: World, tmp_path: Path
) -> None:
    if importlib.util.find_spec("wandb") is None:
        pytest.skip("wandb is not installed")
    config = world.config(out=str(tmp_path / "run"), wandb="sounds")
    (tmp_path / "run.toml").write_text(config.to_toml())
    # A home of its own: no key of the machine's user is looked for.
    changes = {"WANDB_MODE": "offline", "WANDB_API_KEY": KEY, "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-m", "trainer", "train", "--config", str(tmp_path / "run.toml")],
        cwd=ROOT,
        env={**os.environ, **changes},
        text=True,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb"))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if KEY.encode() in path.read_bytes()]
    assert KEY not in done.stdout + done.stderr
