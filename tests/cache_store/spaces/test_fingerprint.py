"""A fingerprint changes with whatever shapes an embedding, and with nothing else."""

from __future__ import annotations

import torch

from cache_store.spaces.fingerprint import fingerprint

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(0.5)}
SETTINGS = {"sample_rate": 48_000, "nested": {"x": 1.5}}


def test_it_names_its_family_and_is_short() -> None:
    family, _, digits = fingerprint("clap", TENSORS, SETTINGS).partition(":")
    assert family == "clap"
    assert len(digits) == 32
    assert int(digits, 16)


def test_order_type_and_layout_do_not_matter() -> None:
    other = {
        "b": TENSORS["b"].half(),  # 0.5 is exact in half precision
        "a.weight": torch.nn.Parameter(TENSORS["a.weight"].double().t().contiguous().t()),
    }
    settings = dict(reversed(SETTINGS.items()))
    assert fingerprint("clap", other, settings) == fingerprint("clap", TENSORS, SETTINGS)


def test_every_change_that_matters_changes_it() -> None:
    weight = TENSORS["a.weight"]
    nudged = weight.clone()
    nudged[1, 2] = torch.nextafter(nudged[1, 2], torch.tensor(9.0))
    kinds = {
        fingerprint("clap", TENSORS, SETTINGS),
        fingerprint("tiny", TENSORS, SETTINGS),
        fingerprint("clap", {**TENSORS, "a.weight": nudged}, SETTINGS),
        fingerprint("clap", {**TENSORS, "a.weight": weight.reshape(3, 2)}, SETTINGS),
        fingerprint("clap", {"c.weight": weight, "b": TENSORS["b"]}, SETTINGS),
        fingerprint("clap", {"a.weight": weight}, SETTINGS),
        fingerprint("clap", TENSORS, {**SETTINGS, "sample_rate": 44_100}),
    }
    assert len(kinds) == 7


def test_it_is_the_same_on_every_machine() -> None:
    # Written down once: caches on disk hold fingerprints, so this value must never change.
    assert fingerprint("clap", TENSORS, SETTINGS) == "clap:fc77a86ec12b3b45783b0da0d60d36bb"
