"""Training: the loss against torch's own, reproducibility, and that it learns."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from cache_store.errors import UsageError
from cache_store.spaces.tiny.pool import Pool, build_pool
from cache_store.spaces.tiny.space import read_weights
from cache_store.spaces.tiny.train import app, spread_loss, train, write_weights


@pytest.fixture(scope="module")
def pool() -> Pool:
    return build_pool(1, [], 0, seed=0)


def test_spread_loss_is_cross_entropy_where_one_answer_is_true() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 9, generator=generator)
    answers = torch.randint(9, (6,), generator=generator)
    true = torch.nn.functional.one_hot(answers, 9).float()
    expected = torch.nn.functional.cross_entropy(logits, answers)
    assert torch.isclose(spread_loss(logits, true), expected)
    # How much agreement a row has in all does not weigh it.
    assert torch.isclose(spread_loss(logits, 0.3 * true), expected)


def test_spread_loss_shares_among_several_answers_and_skips_rows_without_any() -> None:
    logits = torch.tensor([[2.0, 1.0, 0.0], [5.0, 5.0, 5.0]])
    agreements = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    scores = logits[0].log_softmax(0)
    assert torch.isclose(spread_loss(logits, agreements), -(2 * scores[0] + scores[1]) / 3)


def test_the_same_seed_trains_the_same_weights_to_the_bit(pool: Pool) -> None:
    def weights(seed: int) -> dict[str, torch.Tensor]:
        return train(pool, steps=3, seed=seed, clips=8, others=4).state_dict()

    before = torch.random.get_rng_state()
    one, two, other = weights(0), weights(0), weights(1)
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert not torch.equal(one["text.table.weight"], other["text.table.weight"])
    assert torch.equal(before, torch.random.get_rng_state()), "the global generator is left alone"


def test_the_loss_falls(pool: Pool) -> None:
    losses: list[float] = []

    def advance(n: int = 1, **facts: object) -> None:
        losses.append(float(str(facts["loss"])))

    train(pool, steps=14, seed=0, clips=16, others=4, advance=advance)
    assert len(losses) == 14
    assert np.mean(losses[-4:]) < np.mean(losses[:4])


def test_steps_must_be_positive(pool: Pool) -> None:
    with pytest.raises(UsageError, match="steps must be at least 1"):
        train(pool, steps=0, seed=0)


def test_weights_survive_the_file_up_to_float16(pool: Pool, tmp_path: Path) -> None:
    model = train(pool, steps=1, seed=0, clips=4, others=2)
    write_weights(model, tmp_path / "folder" / "w.safetensors")
    read = read_weights(tmp_path / "folder" / "w.safetensors").state_dict()
    for name, tensor in model.state_dict().items():
        assert torch.allclose(read[name].float(), tensor.float(), rtol=1e-3, atol=1e-6), name


def test_the_command_trains_and_says_what_it_did(tmp_path: Path) -> None:
    out = tmp_path / "w.safetensors"
    answer = CliRunner().invoke(
        app, ["--out", str(out), "--steps", "1", "--per-kind", "1", "--json"]
    )
    assert answer.exit_code == 0, answer.output
    report = json.loads(answer.stdout.splitlines()[-1])
    assert report["steps"] == 1 and report["weights"] == str(out)
    assert read_weights(out).log_scale.item() > 0
