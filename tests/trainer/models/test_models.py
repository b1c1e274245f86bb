"""The registry in `trainer/models/__init__.py`."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import ConfigError, UsageError
from cache_store.spaces.tiny.space import load_tiny
from trainer.models import (
    MODELS,
    SeparatorModel,
    build_model,
    needs_tower,
    parse_sizes,
    resolve_size,
    size_record,
)


@pytest.mark.parametrize(
    ("name", "least", "most"),
    [
        ("small", 300_000, 500_000),
        ("tdf", 300_000, 500_000),
        ("base", 2_000_000, 6_000_000),
    ],
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


@pytest.mark.parametrize("name", MODELS)
def test_every_name_can_be_built_and_built_again_from_a_record(name: str) -> None:
    size = resolve_size(name, json.loads(json.dumps(size_record(MODELS[name]))))
    assert size == MODELS[name]
    tower = load_tiny("cpu").audio_tower() if needs_tower(name) else None
    with torch.device("meta"):  # no weights: some are large
        model = build_model(name, tower=tower, condition_dim=8, sample_rate=16_000)
    assert isinstance(model, SeparatorModel)
    assert (model.size, model.condition_dim, model.sample_rate) == (size, 8, 16_000)
    assert model.reach > 0 and model.chunk_multiple > 0


def test_the_records_of_older_runs_still_build_what_they_did() -> None:
    # As `run.json` had it before there were other separators than the U-Net.
    sizes = {"channels": [24, 48, 96], "condition": 64, "depth": 1, "patch": [4, 4]}
    model = build_model("small", sizes, condition_dim=16, sample_rate=8000, seed=3)
    weights = [w.detach().double().sum() for w in model.parameters()]
    # The same sums as then, to the rounding of another order of additions.
    assert float(sum(weights)) == pytest.approx(474.0398537852303, rel=1e-6)
    assert float(weights[0]) == pytest.approx(-2.404450088739395, rel=1e-6)


def test_all_faults_of_sizes_are_told_together() -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_size("small", {"depth": 0, "patch": [4], "width": 3})
    assert len(caught.value.faults) == 3


def test_sizes_are_read_from_text() -> None:
    assert parse_sizes("channels=8,16 depth=2 kind=wide rate=0.5 only=3,") == {
        "channels": [8, 16],
        "depth": 2,
        "kind": "wide",
        "rate": 0.5,
        "only": [3],
    }
    assert parse_sizes(" ") == {}


@pytest.mark.parametrize("text", ["depth", "depth=", "=3", "depth=,", "depth=1 depth=2"])
def test_text_that_is_no_size_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="sizes"):
        parse_sizes(text)


FIELD = st.text("abcxyz_", min_size=1)


@given(st.dictionaries(FIELD, st.integers() | st.lists(st.integers(), min_size=2)))
def test_whatever_is_written_as_text_is_read_back(sizes: dict[str, int | list[int]]) -> None:
    text = " ".join(
        f"{key}={value if isinstance(value, int) else ','.join(map(str, value))}"
        for key, value in sizes.items()
    )
    assert parse_sizes(text) == sizes
