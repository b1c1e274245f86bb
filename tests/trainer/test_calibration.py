from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cache_store.errors import DamagedError, VersionMismatchError
from trainer.calibration import (
    RIDGE,
    Calibration,
    calibration_of,
    fit_logistic,
    read_calibration,
    write_calibration,
)
from trainer.checkpoint import checkpoint_hash
from trainer.confidence import Verdict
from trainer.run import RunFolder, checkpoint_path


def drawn(count: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Two features, of which the first says something about presence."""
    rng = np.random.default_rng(seed)
    present = rng.random(count) < 0.4
    features = np.stack([3.0 * present + rng.normal(size=count), 50 + 9 * rng.normal(size=count)])
    return features.T, present


def calibration(checkpoint: str = "c", space: str = "s") -> Calibration:
    features, present = drawn()
    return Calibration(
        window_seconds=2.0,
        checkpoint=checkpoint,
        space=space,
        share=fit_logistic(features[:, :1], present),
        full=fit_logistic(np.c_[features, features[:, 1]], present),
        made_from={"audio": "held-out", "mixtures": 300},
    )


def test_the_fit_is_the_one_that_a_general_optimiser_finds() -> None:
    features, present = drawn()
    found = fit_logistic(features, present)
    scaled = torch.from_numpy((features - features.mean(axis=0)) / features.std(axis=0))
    target = torch.from_numpy(present.astype(float))
    weights = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weights], max_iter=500, tolerance_grad=1e-12)

    def loss() -> torch.Tensor:
        optimiser.zero_grad()
        logits = scaled @ weights[:2] + weights[2]
        value = (
            torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum")
            + 0.5 * RIDGE * weights[:2].square().sum()
        )
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    expected = weights.detach().numpy()
    # Both stop where the gradient is nothing: 1e-6 is what LBFGS leaves of it.
    np.testing.assert_allclose([*found.weights, found.bias], expected, atol=1e-5)
    logits = scaled.numpy() @ expected[:2] + expected[2]
    np.testing.assert_allclose(found.probability(features), 1 / (1 + np.exp(-logits)), atol=1e-5)


def test_classes_without_overlap_and_features_that_never_change_give_finite_numbers() -> None:
    present = np.arange(40) < 20
    features = np.stack([100.0 * present, np.full(40, 7.0)], axis=1)
    found = fit_logistic(features, present)
    probability = found.probability(features)
    assert np.isfinite([*found.weights, found.bias]).all()
    assert probability[present].min() > 0.9
    assert probability[~present].max() < 0.1


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "confidence.json"
    assert read_calibration(path) is None
    write_calibration(path, calibration())
    assert read_calibration(path) == calibration()


def test_a_changed_number_and_a_newer_version_are_told(tmp_path: Path) -> None:
    path = tmp_path / "confidence.json"
    write_calibration(path, calibration())
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "window_seconds": 3.0}))
    with pytest.raises(DamagedError, match="lqtse calibrate"):
        read_calibration(path)
    path.write_text(json.dumps({**values, "format": "9"}))
    with pytest.raises(VersionMismatchError, match="expected 1, found 9"):
        read_calibration(path)
    for text in ("", "[]", "{}", "null", '{"format": "1"}'):
        path.write_text(text)
        with pytest.raises(DamagedError):
            read_calibration(path)


def test_another_checkpoints_or_spaces_calibration_is_not_used(run: Path, tmp_path: Path) -> None:
    folder = RunFolder(run)
    best = checkpoint_hash(checkpoint_path(folder, "best"))
    try:
        write_calibration(folder.calibration, calibration(best, "s"))
        assert calibration_of(folder, "best", "s") == calibration(best, "s")
        assert calibration_of(folder, "best", "other") is None
        write_calibration(folder.calibration, calibration("other", "s"))
        assert calibration_of(folder, "best", "s") is None
    finally:
        folder.calibration.unlink()


def test_scores_are_used_where_there_are_any() -> None:
    both, alone = Verdict(0.5, -3.0, 50.0, 60.0), Verdict(0.5, -3.0)
    one = calibration()
    assert one.full is not None
    heard, deaf = one.apply(both).confidence, one.apply(alone).confidence
    assert heard == pytest.approx(one.full.probability(np.array([[-3.0, 50.0, 60.0]]))[0])
    assert deaf == pytest.approx(one.share.probability(np.array([[-3.0]]))[0])
