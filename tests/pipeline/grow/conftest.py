from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.pipeline.grow.world import poor_cache, recordings


@pytest.fixture(scope="session")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty recordings of five kinds of sound, none of them labelled."""
    return recordings(tmp_path_factory.mktemp("audio"))


@pytest.fixture(scope="session")
def poor(tmp_path_factory: pytest.TempPathFactory, audio: Path) -> Path:
    """A cache without captions for two of the five kinds; not to be written to."""
    from tests.pipeline.grow.world import grow

    cache = poor_cache(tmp_path_factory.mktemp("poor") / "cache")
    grow(cache, audio, ask=False)  # so that embeddings are kept, and the tests are quick
    return cache


@pytest.fixture
def cache(tmp_path: Path, poor: Path) -> Path:
    """The same, to grow in."""
    shutil.copytree(poor, tmp_path / "cache")
    return tmp_path / "cache"
