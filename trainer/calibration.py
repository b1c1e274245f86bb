"""From evidence to a probability: a logistic regression, and the file that keeps it in a run.

    p = 1 / (1 + exp(-(b + w · (f - mean) / scale)))

fitted by Newton's method on the log-likelihood with a small ridge, so that classes that can be told
apart without an error do not send w to infinity. `RUN/confidence.json` holds the numbers, what they
were fitted on, how far off they were on mixtures that they were not fitted on, and a hash of all
that. It is of one checkpoint and one space: another one's is not used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cache_store.errors import DamagedError, VersionMismatchError, storage_errors
from cache_store.files import replace_file
from trainer.checkpoint import checkpoint_hash
from trainer.run import RunFolder, checkpoint_path

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from trainer.confidence import Verdict

FORMAT = "1"
RIDGE = 1.0  # on weights of standardised features, against a sum over all mixtures
_ROUNDS = 100


@dataclass(frozen=True)
class Logistic:
    """A logistic regression.

    Attributes:
        mean: Of each feature over what it was fitted on.
        scale: Standard deviation of each.
        weights: Of each feature, standardised.
        bias: Added.
        error: How far off it was on mixtures that it was not fitted on, by name
            (`trainer.calibrate`).
    """

    mean: tuple[float, ...]
    scale: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    error: Mapping[str, float]

    def probability(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        """Shape: `[n, features]` to `[n]`, from 0 to 1."""
        scaled = (np.asarray(features, np.float64) - np.array(self.mean)) / np.array(self.scale)
        return _sigmoid(scaled @ np.array(self.weights) + self.bias)


def fit_logistic(features: NDArray[np.floating], present: NDArray[np.bool_]) -> Logistic:
    """Fit.

    Args:
        features: `[n, features]`.
        present: Whether the sound was there, both ways at least once. `[n]`
    """
    matrix = np.asarray(features, np.float64)
    mean, scale = matrix.mean(axis=0), np.maximum(matrix.std(axis=0), 1e-9)
    columns = np.concatenate([(matrix - mean) / scale, np.ones((len(matrix), 1))], axis=1)
    ridge = np.diag([RIDGE] * matrix.shape[1] + [0.0])
    weights = np.zeros(columns.shape[1])
    for _ in range(_ROUNDS):
        found = _sigmoid(columns @ weights)
        gradient = columns.T @ (found - present) + ridge @ weights
        curvature = (columns * (found * (1 - found))[:, None]).T @ columns + ridge
        curvature[-1, -1] += 1e-9
        step = np.linalg.solve(curvature, gradient)
        # A long step can overshoot where the classes hardly overlap.
        weights -= step * min(1.0, 5.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-10:
            break
    return Logistic(
        tuple(mean.tolist()),
        tuple(scale.tolist()),
        tuple(weights[:-1].tolist()),
        float(weights[-1]),
        {},
    )


@dataclass(frozen=True)
class Calibration:
    """What turns evidence into a probability for one checkpoint.

    Attributes:
        window_seconds: Length of the windows that evidence is taken from.
        checkpoint: Hash of the checkpoint.
        space: Fingerprint of the space of its queries.
        share: Of the energy share alone.
        full: Of the energy share and both CLAP scores; None if the space has no ears.
        made_from: What was mixed: `audio`, `where`, `queries`, `mixtures`, `snr_db`, `seed`.
    """

    window_seconds: float
    checkpoint: str
    space: str
    share: Logistic
    full: Logistic | None
    made_from: Mapping[str, Any]
    format: str = FORMAT

    def apply(self, verdict: Verdict) -> Verdict:
        """The verdict with a probability, of as much evidence as it has."""
        heard = verdict.clap_score is not None and self.full is not None
        chosen = self.full if heard and self.full is not None else self.share
        features = verdict.features if heard else verdict.features[:1]
        probability = chosen.probability(np.array([features]))[0]
        return replace(verdict, confidence=float(probability))


def write_calibration(path: Path, calibration: Calibration) -> None:
    """Write a calibration, whole or not at all.

    Raises:
        StorageError: The place cannot be written.
    """
    values = asdict(calibration)
    text = json.dumps({**values, "hash": _hash(values)}, indent=1, sort_keys=True) + "\n"
    with storage_errors(path):
        replace_file(path, text.encode())


def read_calibration(path: Path) -> Calibration | None:
    """Read a calibration; None if there is none.

    Raises:
        DamagedError: It is not as it was written.
        VersionMismatchError: Another version wrote it.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["format"] != FORMAT:
            raise VersionMismatchError(
                "a calibration of another version",
                where=path,
                expected=FORMAT,
                found=values["format"],
                hint="Make it again: lqtse calibrate",
            )
        if values.pop("hash") != _hash(values):
            raise ValueError("hash")
        full = values.pop("full")
        return Calibration(
            share=_logistic(values.pop("share")),
            full=None if full is None else _logistic(full),
            **values,
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(
            "the calibration of a run is damaged",
            where=path,
            hint="Make it again: lqtse calibrate",
        ) from error


def calibration_of(folder: RunFolder, which: str, space: str) -> Calibration | None:
    """The calibration of a run's checkpoint; None if there is none, or it is of another one.

    Args:
        folder: The run.
        which: `best` or `last`.
        space: Fingerprint of the space that the queries live in.

    Raises:
        DamagedError: It is not as it was written.
        VersionMismatchError: Another version wrote it.
    """
    found = read_calibration(folder.calibration)
    if found is None or found.space != space:
        return None
    return found if found.checkpoint == checkpoint_hash(checkpoint_path(folder, which)) else None


def _logistic(values: Mapping[str, Any]) -> Logistic:
    mean, scale, weights = (tuple(values[name]) for name in ("mean", "scale", "weights"))
    return Logistic(mean, scale, weights, values["bias"], values["error"])


def _hash(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def _sigmoid(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return 0.5 * (1.0 + np.tanh(0.5 * values))
