"""A world and a trained run, made once and only read by tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.world import World, write_world
from trainer.training import train


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Recordings and a cache."""
    return write_world(tmp_path_factory.mktemp("world"))


@pytest.fixture(scope="session")
def run(world: World) -> Path:
    """A finished run of four steps."""
    config = world.config()
    train(config)
    return Path(config.out)
