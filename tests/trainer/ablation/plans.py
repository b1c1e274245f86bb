"""A small ablation on the world of the trainer's tests."""

from __future__ import annotations

from pathlib import Path

from tests.trainer.world import World
from trainer.ablation import Ablation, read_ablation

TRAIN = """
where = "fold < 3"
valid_where = "fold == 3"
steps = 2
warmup = 1
batch_size = 2
seconds = 0.25
valid_every = 2
valid_mixtures = 3
valid_sounds = 0
device = "cpu"
"""
ARMS = """
[[arm]]
name = "audio"
strategy = "audio"

[[arm]]
name = "top1"
strategy = "top1"
"""


def write_plan(
    folder: Path, *, train: str = TRAIN, arms: str = ARMS, top: str = "seeds = [0, 1]"
) -> Path:
    """The TOML file."""
    path = folder / "ablate.toml"
    path.write_text(f"{top}\n[train]\n{train}\n[evaluate]\nmixtures = 4\n{arms}")
    return path


def plan(world: World, folder: Path, **parts: str) -> Ablation:
    """The plan, read."""
    flags = {"cache": str(world.cache), "audio": str(world.audio)}
    return read_ablation(write_plan(folder, **parts), folder / "out", flags)
