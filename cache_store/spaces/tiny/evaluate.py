"""Measure `tiny`: python -m cache_store.spaces.tiny.evaluate [--recordings ESC10].

Zero-shot classification by the nearest caption, retrieval both ways, and the modality gap, on
clips that training has not heard: fresh seeds, the ranges of the other splits, kinds that were
never trained, and, where given, the recordings of ESC-10's fold 4.

Letters: N clips, K kinds, D embedding size.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Optional

import numpy as np
import typer
from numpy.typing import NDArray

from cache_store.console import progress, run, summarise
from cache_store.spaces.base import Space
from cache_store.spaces.tiny import captions, features
from cache_store.spaces.tiny.pool import decode, read_recordings
from cache_store.spaces.tiny.sounds import HELD_OUT_KINDS, KINDS, TRAINED_KINDS, synthesise

TEST_FOLD = 4  # of ESC-10
_PURPOSE = 0xE7A1  # no training stream has it

app = typer.Typer(add_completion=False)
Vectors = NDArray[np.float32]


@dataclass(frozen=True)
class Clips:
    """Embedded test clips and their kinds. Shape: [N, D] and N names."""

    vectors: Vectors
    kinds: tuple[str, ...]


def procedural_clips(
    space: Space, kinds: Sequence[str], per_kind: int, seed: int, split: str
) -> Clips:
    """Fresh procedural clips, embedded."""
    vectors, names = [], []
    with progress(f"{split} clips", len(kinds) * per_kind, "clips") as advance:
        for kind in kinds:
            clips = [
                synthesise(
                    kind,
                    np.random.default_rng([seed, _PURPOSE, KINDS.index(kind), index]),
                    split=split,
                )
                for index in range(per_kind)
            ]
            vectors.append(space.embed_audio(clips, features.SAMPLE_RATE))
            names += [kind] * per_kind
            advance(per_kind)
    return Clips(np.concatenate(vectors), tuple(names))


def recorded_clips(space: Space, folder: Path) -> Clips:
    """ESC-10's fold 4, embedded."""
    recordings = read_recordings(folder, (TEST_FOLD,))
    vectors = [space.embed_audio([decode(item.path)], features.SAMPLE_RATE) for item in recordings]
    return Clips(np.concatenate(vectors), tuple(item.kind for item in recordings))


def accuracy(space: Space, clips: Clips, kinds: Sequence[str]) -> float:
    """The share of clips whose nearest of the kinds' plainest captions is their own kind's."""
    texts = space.embed_text([captions.phrases(kind)[0] for kind in kinds])
    nearest = (clips.vectors @ texts.T).argmax(axis=1)
    return float(np.mean([kinds[i] == kind for i, kind in zip(nearest, clips.kinds, strict=True)]))


def retrieval(space: Space, clips: Clips, seed: int) -> dict[str, float]:
    """Recall in rounds of one clip and one random caption a kind, the mean over rounds.

    Returns:
        `text_to_audio_r1`, `..._r5`, `audio_to_text_r1`, `..._r5`.
    """
    kinds = tuple(dict.fromkeys(clips.kinds))
    rows = [np.flatnonzero([name == kind for name in clips.kinds]) for kind in kinds]
    rounds = min(len(part) for part in rows)
    recalls: dict[str, list[float]] = {}
    for turn in range(rounds):
        rng = np.random.default_rng([seed, _PURPOSE, turn])
        texts = space.embed_text([captions.caption(kind, rng) for kind in kinds])
        scores = texts @ clips.vectors[[part[turn] for part in rows]].T
        for way, matrix in (("text_to_audio", scores), ("audio_to_text", scores.T)):
            rank = (matrix > np.diag(matrix)[:, None]).sum(axis=1)
            for k in (1, 5):
                recalls.setdefault(f"{way}_r{k}", []).append(float(np.mean(rank < k)))
    return {name: float(np.mean(values)) for name, values in recalls.items()}


def gap(space: Space, clips: Clips, seed: int) -> dict[str, float]:
    """The modality gap: the distance of the two means, and cosines of true and of other pairs."""
    rng = np.random.default_rng([seed, _PURPOSE])
    texts = space.embed_text([captions.caption(kind, rng) for kind in clips.kinds])
    cosines = clips.vectors @ texts.T
    same = np.array([[a == b for b in clips.kinds] for a in clips.kinds])
    means = clips.vectors.mean(axis=0) - texts.mean(axis=0)
    return {
        "distance_of_means": float(np.linalg.norm(means)),
        "paired_cosine": float(np.diag(cosines).mean()),
        "other_cosine": float(cosines[~same].mean()),
    }


def speed(space: Space) -> dict[str, float]:
    """Captions and clips of five seconds a second, as things are now on this machine."""
    rng = np.random.default_rng(0)
    lines = [captions.caption(KINDS[i % len(KINDS)], rng) + f" {i}" for i in range(4000)]
    clips = [rng.standard_normal(features.WINDOW).astype(np.float32) for _ in range(64)]
    space.embed_text(lines[:64])
    begin = time.perf_counter()
    space.embed_text(lines)
    middle = time.perf_counter()
    space.embed_audio(clips, features.SAMPLE_RATE)
    end = time.perf_counter()
    return {
        "captions_per_second": len(lines) / (middle - begin),
        "clips_per_second": len(clips) / (end - middle),
    }


def evaluate(
    space: Space, *, per_kind: int = 20, seed: int = 1, recordings: Path | None = None
) -> dict[str, dict[str, float]]:
    """Everything that the model card says, as groups of numbers."""
    report: dict[str, dict[str, float]] = {}
    trained = {
        split: procedural_clips(space, TRAINED_KINDS, per_kind, seed, split)
        for split in ("train", "demo")
    }
    unheard = procedural_clips(space, HELD_OUT_KINDS, per_kind, seed, "held-out")
    report["zero-shot accuracy"] = {
        f"trained kinds, fresh clips, of {len(TRAINED_KINDS)}": accuracy(
            space, trained["train"], TRAINED_KINDS
        ),
        f"trained kinds, demo ranges, of {len(TRAINED_KINDS)}": accuracy(
            space, trained["demo"], TRAINED_KINDS
        ),
        f"kinds never heard, of {len(HELD_OUT_KINDS)}": accuracy(space, unheard, HELD_OUT_KINDS),
        f"kinds never heard, of all {len(KINDS)}": accuracy(space, unheard, KINDS),
    }
    report["retrieval, demo ranges"] = retrieval(space, trained["demo"], seed)
    report["modality gap, demo ranges"] = gap(space, trained["demo"], seed)
    if recordings is not None:
        real = recorded_clips(space, recordings)
        classes = tuple(dict.fromkeys(real.kinds))
        report["zero-shot accuracy"].update(
            {
                f"ESC-10 fold {TEST_FOLD}, of {len(classes)}": accuracy(space, real, classes),
                f"ESC-10 fold {TEST_FOLD}, of {len(TRAINED_KINDS)} kinds": accuracy(
                    space, real, TRAINED_KINDS
                ),
            }
        )
        report[f"retrieval, ESC-10 fold {TEST_FOLD}"] = retrieval(space, real, seed)
        report[f"modality gap, ESC-10 fold {TEST_FOLD}"] = gap(space, real, seed)
    report["speed"] = speed(space)
    return report


@app.command()
def main(
    weights: Annotated[
        Optional[Path], typer.Option(help="Weights to measure; the shipped ones by default.")
    ] = None,
    recordings: Annotated[
        Optional[Path], typer.Option(help="An ESC-10 folder: its fold 4 is measured too.")
    ] = None,
    per_kind: Annotated[int, typer.Option(help="Procedural test clips of every kind.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the test clips and captions.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure what tiny can and cannot do.

    Example: python -m cache_store.spaces.tiny.evaluate --recordings esc10
    """
    from cache_store.spaces.tiny.space import WEIGHTS, TinySpace, read_weights

    space = TinySpace(read_weights(weights or WEIGHTS))
    report = evaluate(space, per_kind=per_kind, seed=seed, recordings=recordings)
    facts: dict[str, Any] = {"fingerprint": space.fingerprint}
    for group, values in report.items():
        rounded = {name: round(value, 3) for name, value in values.items()}
        facts.update(
            {group: rounded} if as_json else {f"{group}: {k}": v for k, v in rounded.items()}
        )
    summarise(facts, as_json=as_json)


if __name__ == "__main__":
    raise SystemExit(run(app, "python -m cache_store.spaces.tiny.evaluate"))
