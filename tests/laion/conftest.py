"""The laion-clap package, made to run without torchvision, without a network and at a small size.

The package imports torchvision (whose CPU build is not on every registry), and loads three
tokenizers and RoBERTa from the hub when it is imported or built. An empty module stands in for
torchvision, of which the code under test uses nothing; folders named like the hub's models, in
the working directory, stand in for the hub. The audio towers have their full size; the text tower
has RoBERTa's width but three layers and a small vocabulary.
"""

from __future__ import annotations

import importlib.machinery
import os
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.cache_store.spaces import models

TEXT_LAYERS = 3
TORCHVISION_PARTS = ("datasets", "transforms", "ops", "ops.misc")


class Empty(types.ModuleType):
    """A module whose every name is an empty class, or the module below it."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.__path__: list[str] = []
        self.__spec__ = importlib.machinery.ModuleSpec(name, None)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return sys.modules.get(f"{self.__name__}.{name}") or type(name, (), {})


@pytest.fixture(scope="session")
def offline_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ./roberta-base, ./bert-base-uncased and ./facebook/bart-base."""
    from transformers import BertTokenizer, RobertaConfig, RobertaModel

    root = tmp_path_factory.mktemp("offline")
    tokens = models.tokenizer(root / "roberta-base")
    tokens.save_pretrained(root / "roberta-base")
    models.tokenizer(root / "facebook" / "bart-base").save_pretrained(
        root / "facebook" / "bart-base"
    )
    words = root / "bert-base-uncased"
    words.mkdir()
    (words / "vocab.txt").write_text("[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n", encoding="utf-8")
    BertTokenizer(str(words / "vocab.txt")).save_pretrained(words)
    config = RobertaConfig(
        vocab_size=len(tokens),
        num_hidden_layers=TEXT_LAYERS,
        max_position_embeddings=514,
        type_vocab_size=1,
        layer_norm_eps=1e-5,
    )
    RobertaModel(config).save_pretrained(root / "roberta-base")
    return root


@pytest.fixture(scope="session")
def package(offline_models: Path) -> Iterator[Any]:
    """The laion_clap module; the working directory is `offline_models` while it is in use."""
    # transformers asks whether torchvision is there: let it decide before the stand-in is.
    from transformers import BartTokenizer, BertTokenizer, ClapModel, RobertaModel  # noqa: F401

    before = Path.cwd()
    for name in ("torchvision", *(f"torchvision.{part}" for part in TORCHVISION_PARTS)):
        sys.modules.setdefault(name, Empty(name))
    os.chdir(offline_models)
    try:
        import laion_clap

        yield laion_clap
    finally:
        os.chdir(before)


def enliven(model: torch.nn.Module, seed: int) -> None:
    """Draw weights wide enough that two texts, or two clips, do not embed alike."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "extractor" in name or "logit_scale" in name:
                continue
            noise = torch.randn(tensor.shape, generator=generator)
            if tensor.ndim >= 2:
                wide = "embedding" in name or "bias_table" in name
                tensor.copy_(noise * (1.0 if wide else 1.5 * tensor[0].numel() ** -0.5))
            else:
                tensor.add_(noise * 0.1)
        for name, tensor in model.named_buffers():
            if name.endswith("bn0.running_mean"):
                tensor.copy_(-30 + 3 * torch.randn(tensor.shape, generator=generator))
            if name.endswith("bn0.running_var"):
                tensor.copy_(150 + 150 * torch.rand(tensor.shape, generator=generator))
