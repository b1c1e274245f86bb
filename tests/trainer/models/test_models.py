"""The registry in `trainer/models/__init__.py`."""

from __future__ import annotations

import pytest
import torch

from cache_store.errors import ConfigError, UsageError
from trainer.models import MODELS, build_model, resolve_size, size_record


@pytest.mark.parametrize(
    ("name", "least", "most"), [("small", 300_000, 500_000), ("base", 2_000_000, 6_000_000)]
)
def test_sizes_are_as_documented(name: str, least: int, most: int) -> None:
    model = build_model(name, condition_dim=512, sample_rate=8000)
    assert least <= sum(parameter.numel() for parameter in model.parameters()) <= most


def test_the_seed_decides_the_weights_and_leaves_the_global_state_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (
        build_model("small", condition_dim=8, sample_rate=8000, seed=seed).state_dict()
        for seed in (1, 1, 2)
    )
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_a_size_survives_being_written_down() -> None:
    record = size_record(MODELS["base"])
    assert resolve_size("small", record) == MODELS["base"]


def test_an_unknown_name_is_told() -> None:
    with pytest.raises(UsageError, match=r"huge .expected small \| base"):
        build_model("huge", condition_dim=8, sample_rate=8000)


def test_all_faults_of_sizes_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_size("small", {"depth": 0, "patch": [4], "width": 3})
    assert len(caught.value.faults) == 3
