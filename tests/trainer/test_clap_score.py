from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cache_store.errors import AudioError, SpaceMismatchError, UsageError
from cache_store.manifest import named_space
from cache_store.spaces import load_space
from cache_store.spaces.tiny.sounds import synthesise
from trainer.clap_score import SCORES, ClapScorer, harmonic_mean, load_ears

RATE = 16_000
KINDS = ("dog", "siren", "rain")


@pytest.fixture(scope="module")
def sounds() -> torch.Tensor:
    """A second of each of `KINDS`."""
    rng = np.random.default_rng(0)
    waves = [synthesise(kind, rng, seconds=1.0, sample_rate=RATE) for kind in KINDS]
    return torch.from_numpy(np.stack(waves).astype(np.float32))


def test_scores_are_cosines_of_the_models_embeddings(sounds: torch.Tensor) -> None:
    space = load_space("tiny")
    texts = space.embed_text(["a dog barking", "a siren", "rain falling"])
    mixtures = sounds + 0.5 * sounds.roll(1, 0)
    estimates = sounds + 0.1 * sounds.roll(1, 0)
    found = ClapScorer(space, RATE).score(
        estimates, torch.from_numpy(texts), mixtures=mixtures, targets=sounds
    )
    assert tuple(found) == SCORES
    e, m, r = (
        np.stack([space.embed_audio([wave], RATE)[0] for wave in waves.numpy()]).astype(np.float64)
        for waves in (estimates, mixtures, sounds)
    )
    text, audio = (e * texts).sum(1), (e * r).sum(1)
    expected = {
        "clap_score": text,
        "clap_score_i": text - (m * texts).sum(1),
        "clap_score_target": audio,
        "ref_clap_score": 2 / (1 / text + 1 / audio),
    }
    for name, values in found.items():
        assert values.shape == (3,)
        # Batches of another size change the last bits of float32.
        np.testing.assert_allclose(values.numpy(), expected[name], atol=1e-5)


def test_the_right_sound_scores_more_than_another(sounds: torch.Tensor) -> None:
    space = load_space("tiny")
    scorer = ClapScorer(space, RATE)
    for row, text in enumerate(("a dog barking", "a siren", "rain falling")):
        query = torch.from_numpy(space.embed_text([text])).expand(3, -1)
        assert int(scorer.score(sounds, query)["clap_score"].argmax()) == row


def test_only_what_is_given_is_scored(sounds: torch.Tensor) -> None:
    scorer = ClapScorer(load_space("tiny"), RATE)
    query = torch.from_numpy(scorer.space.embed_text(["rain"])).expand(3, -1)
    assert [*scorer.score(sounds, query)] == ["clap_score"]
    assert [*scorer.score(sounds, targets=sounds)] == ["clap_score_target"]
    torch.testing.assert_close(
        scorer.score(sounds, 3 * query)["clap_score"], scorer.score(sounds, query)["clap_score"]
    )


def test_silence_has_a_score_and_what_is_not_finite_has_none() -> None:
    scorer = ClapScorer(load_space("tiny"), RATE)
    query = torch.from_numpy(scorer.space.embed_text(["rain"]))
    assert torch.isfinite(scorer.score(torch.zeros(1, RATE), query)["clap_score"]).all()
    with pytest.raises(AudioError):
        scorer.score(torch.full((1, RATE), torch.nan), query)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_the_harmonic_mean_lies_between_its_parts(left: float, right: float) -> None:
    mean = float(harmonic_mean(torch.tensor(left), torch.tensor(right)))
    if min(left, right) <= 0:
        assert mean == 0
    else:
        assert mean <= max(left, right) * (1 + 1e-6)
        assert mean >= 0


def test_a_space_without_ears_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="embeds audio"):
        load_ears(named_space("elsewhere", 4))
    table = pa.table({"caption": ["rain"], "embedding": [[1.0, 0.0]]})
    path = tmp_path / "texts.parquet"
    pq.write_table(table.replace_schema_metadata({"lqtse.space": "elsewhere"}), path)
    with pytest.raises(UsageError, match="embeds audio"):
        load_ears(named_space("elsewhere", 2), f"stored:{path}")


def test_ears_are_of_the_runs_own_space() -> None:
    space = load_space("tiny")
    assert load_ears(space.record).fingerprint == space.fingerprint
    with pytest.raises(SpaceMismatchError):
        load_ears(named_space("elsewhere", 128), "tiny")
