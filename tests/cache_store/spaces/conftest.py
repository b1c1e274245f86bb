"""Models on disk, written once a session: they are only read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from transformers import ClapModel

from tests.cache_store.spaces import models


@pytest.fixture(scope="session")
def hf_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ClapModel as `save_pretrained` writes it."""
    return models.hf_folder(tmp_path_factory.mktemp("hf") / "tiny-clap")


@pytest.fixture(scope="session")
def fused_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny ClapModel with feature fusion."""
    return models.hf_folder(tmp_path_factory.mktemp("fused") / "fused-clap", fused=True)


@pytest.fixture(scope="session")
def tokenizer_folder(hf_folder: Path) -> Path:
    """vocab.json and merges.txt, as roberta-base has them."""
    return hf_folder / "parts"


@pytest.fixture(scope="session")
def peer(hf_folder: Path) -> ClapModel:
    """The model in transformers' own hands."""
    return ClapModel.from_pretrained(hf_folder, local_files_only=True).eval()


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, peer: ClapModel) -> Path:
    """The same weights as laion-clap's training would write them."""
    return models.laion_file(tmp_path_factory.mktemp("laion") / "tiny.pt", peer)


@pytest.fixture(scope="session")
def clips() -> list[np.ndarray]:
    """Recordings at 48 kHz of 0.2 s to 10 s: decaying tones in noise."""
    return [
        models.recording(seconds, hz, seed)
        for seed, (seconds, hz) in enumerate([(3, 440), (10, 2000), (7.3, 100), (0.2, 900)])
    ]
