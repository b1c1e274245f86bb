"""Two real processes on one CPU, as `torchrun` starts them, train as one does on their batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from tests.trainer.world import World
from trainer.checkpoint import load_checkpoint
from trainer.config import TrainConfig
from trainer.journal import read_history
from trainer.run import RunFolder
from trainer.training import train

ROOT = Path(__file__).parents[2]


def torchrun(*command: object) -> subprocess.CompletedProcess[str]:
    """Run a Python command in two processes that talk over 127.0.0.1."""
    place = ("--rdzv-backend=c10d", "--rdzv-endpoint=127.0.0.1:0", "--local-addr=127.0.0.1")
    launch = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", *place)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    words = [str(word) for word in (*launch, *command)]
    return subprocess.run(
        words, cwd=ROOT, env=environment, text=True, capture_output=True, timeout=300
    )


def losses(run: str) -> torch.Tensor:
    lines = [line for line in read_history(RunFolder(Path(run))) if line["kind"] == "train"]
    return torch.tensor([line["loss"] for line in lines], dtype=torch.float64)


def test_two_processes_train_as_one_with_the_batches_of_both(world: World, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"steps": 6, "valid_every": 3, "strategy": "noise", "ema": 0.9}
    settings |= {"negative": 0.5}
    two = world.config(**settings, batch_size=2, out=str(tmp_path / "two"))
    (tmp_path / "two.toml").write_text(two.to_toml())
    done = torchrun("-m", "trainer", "train", "--config", tmp_path / "two.toml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("next: lqtse evaluate") == 1  # one of them reports

    one = two.replace(batch_size=4, out=str(tmp_path / "one"))
    train(one)
    # Sums in another order differ in their last bits (3e-7 was seen, of losses of about 1). AdamW,
    # whose first steps go by little more than a gradient's sign, can make more of it where a
    # gradient is near zero: hence the room.
    torch.testing.assert_close(losses(two.out), losses(one.out), rtol=0, atol=1e-4)
    weights = [load_checkpoint(RunFolder(Path(run.out)).last) for run in (two, one)]
    assert weights[0].model.keys() == weights[1].model.keys()
    assert weights[0].state["finished"] and weights[0].average.keys() == weights[1].average.keys()

    # The tolerance tells something: two batches with statistics of their own train otherwise
    # (0.03 was seen).
    apart = one.replace(batch_size=2, accumulate=2, out=str(tmp_path / "apart"))
    train(apart)
    assert float((losses(apart.out) - losses(one.out)).abs().max()) > 1e-2


def test_it_ends_early_in_both_processes_and_goes_no_further(world: World, tmp_path: Path) -> None:
    config = world.config(
        steps=50, valid_every=1, early_stop=1, lr=1e-12, warmup=0, out=str(tmp_path / "run")
    )
    (tmp_path / "run.toml").write_text(config.to_toml())
    done = torchrun("-m", "trainer", "train", "--config", tmp_path / "run.toml")
    assert done.returncode == 0, done.stderr
    last = load_checkpoint(RunFolder(tmp_path / "run").last)
    assert last.step < 50 and last.state["finished"]
    again = train(TrainConfig.from_toml(tmp_path / "run" / "config.toml"), resume=True)
    assert again.result.finished and again.result.steps == last.step
