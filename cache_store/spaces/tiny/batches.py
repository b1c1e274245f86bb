"""Training batches: clips, captions, and how much each caption is true of each clip.

Every item (a clip, a caption) is a vector of weights over concepts: the trained kinds, the kinds
that are never heard, the lexicon's concepts. A clip of rain has 1 at rain; a mixture has several
ones; a caption about a truck has 1 at its own concept and a little at `engine`. How much two items
agree is the weighted Jaccard index of their vectors. So clips of one kind are never negatives of
each other's captions, and a mixture's caption is half true of either sound.

Batch i is a pure function of (seed, i). Letters: B clips, X captions without a clip, Q concepts.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cache_store.spaces.tiny import augment, captions
from cache_store.spaces.tiny.lexicon import CONCEPTS, RELATED, RELATIVES
from cache_store.spaces.tiny.pool import Pool
from cache_store.spaces.tiny.sounds import HELD_OUT_KINDS, TRAINED_KINDS

CROP = 112  # frames: 2.2 s
_KINDS = TRAINED_KINDS + HELD_OUT_KINDS
_SIZE = len(_KINDS) + len(CONCEPTS)
_PURPOSE = 0xBA7C


@dataclass(frozen=True)
class Batch:
    """One training batch.

    Attributes:
        mels: In dB. Shape: [B, F, L].
        ranges: Dynamic range to show each clip with, in dB. Shape: [B].
        texts: Captions: of the clips in their order, then X of other concepts.
        rephrased: Other captions of the same, in the same order.
        audio: Concepts of the clips. Shape: [B, Q].
        text: Concepts of the captions. Shape: [B + X, Q].
    """

    mels: NDArray[np.float32]
    ranges: NDArray[np.float32]
    texts: list[str]
    rephrased: list[str]
    audio: NDArray[np.float32]
    text: NDArray[np.float32]


def agreement(left: NDArray[np.float32], right: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weighted Jaccard index, sum(min) / sum(max), of all pairs of rows.

    Shape:
        - left: [n, Q]; right: [m, Q]; output: [n, m] within [0, 1]
    """
    # sum(max) = sum(left) + sum(right) - sum(min), so only the minimum needs all pairs.
    least = np.stack([np.minimum(row, right).sum(axis=1) for row in left])
    most = left.sum(axis=1)[:, None] + right.sum(axis=1)[None] - least
    return (least / np.maximum(most, 1e-6)).astype(np.float32)


class Batches:
    """Makes the batches of a pool.

    Args:
        pool: The clips.
        seed: Of everything random.
        clips: B, clips in a batch.
        others: X, captions in a batch that belong to no clip.
    """

    def __init__(self, pool: Pool, seed: int, clips: int, others: int) -> None:
        self._pool, self._seed, self._clips, self._others = pool, seed, clips, others
        self._synthetic = [
            np.flatnonzero((pool.kinds == kind) & ~pool.real) for kind in range(len(TRAINED_KINDS))
        ]
        self._real = [
            np.flatnonzero((pool.kinds == kind) & pool.real) for kind in range(len(TRAINED_KINDS))
        ]

    def batch(self, index: int) -> Batch:
        """Batch `index`."""
        rng = np.random.default_rng([self._seed, _PURPOSE, index])
        mels, texts, rephrased = [], [], []
        audio = np.zeros((self._clips, _SIZE), dtype=np.float32)
        text = np.zeros((self._clips + self._others, _SIZE), dtype=np.float32)
        # Every kind comes equally often: a permutation of all, again and again.
        order = np.concatenate(
            [rng.permutation(len(TRAINED_KINDS)) for _ in range(1 + self._clips // 20)]
        )
        for row in range(self._clips):
            mel, kinds, sequence = self._clip(int(order[row]), rng)
            mels.append(augment.mask(augment.colour(mel, rng), rng))
            names = [TRAINED_KINDS[kind] for kind in kinds]
            texts.append(captions.mixed_caption(names, rng, sequence=sequence))
            rephrased.append(captions.mixed_caption(names, rng, sequence=sequence))
            audio[row, kinds] = text[row, kinds] = 1.0
        for row in range(self._clips, self._clips + self._others):
            pair, weights = _other(rng)
            texts.append(pair[0])
            rephrased.append(pair[1])
            text[row] = weights
        ranges = rng.uniform(45, 85, self._clips).astype(np.float32)
        return Batch(np.stack(mels), ranges, _worn(texts, rng), _worn(rephrased, rng), audio, text)

    def _clip(self, kind: int, rng: np.random.Generator) -> tuple[augment.Mel, list[int], bool]:
        first = self._crop(kind, rng)
        draw = rng.random()
        if draw < 0.7:
            if rng.random() < 0.3:
                # Something faint and unnamed behind it.
                behind = self._crop(int(rng.integers(len(TRAINED_KINDS))), rng)
                first = augment.mix(first, behind, float(rng.uniform(12, 30)))
            return first, [kind], False
        other = int((kind + rng.integers(1, len(TRAINED_KINDS))) % len(TRAINED_KINDS))
        second = self._crop(other, rng)
        if draw < 0.92:
            return augment.mix(first, second, float(rng.uniform(-6, 6))), [kind, other], False
        return augment.join(first, second, rng), [kind, other], True

    def _crop(self, kind: int, rng: np.random.Generator) -> augment.Mel:
        real = self._real[kind]
        clips = real if real.size and rng.random() < 0.6 else self._synthetic[kind]
        return augment.crop(self._pool.mels[clips[rng.integers(clips.size)]], CROP, rng)


def _other(rng: np.random.Generator) -> tuple[tuple[str, str], NDArray[np.float32]]:
    """Two captions of a concept that no clip shows, and its weights [Q]."""
    weights = np.zeros(_SIZE, dtype=np.float32)
    if rng.random() < 0.15:
        number = int(rng.integers(len(HELD_OUT_KINDS)))
        kind = HELD_OUT_KINDS[number]
        pair = captions.caption(kind, rng), captions.caption(kind, rng)
        weights[len(TRAINED_KINDS) + number] = 1.0
        related = RELATIVES[kind]
    else:
        number = int(rng.integers(len(CONCEPTS)))
        phrasings, related = CONCEPTS[number]
        pair = captions.framed(phrasings, rng), captions.framed(phrasings, rng)
        weights[len(_KINDS) + number] = 1.0
    for kind in related:
        weights[TRAINED_KINDS.index(kind)] = RELATED
    return pair, weights


def _worn(texts: list[str], rng: np.random.Generator) -> list[str]:
    """Captions as people type them: now and then a letter missing or doubled."""
    worn = []
    for text in texts:
        if rng.random() < 0.08 and len(text) > 6:
            place = int(rng.integers(1, len(text) - 1))
            text = text[:place] + text[place + (1 if rng.random() < 0.5 else -1) :]
        worn.append(text)
    return worn
