"""What the concepts of a bank look like in an embedding space.

Pure: embeddings of wordings in, the figures that coverage is judged by out.

**Centring.** CLAP's texts lie in a narrow cone, and its recordings in another one. Of every text
the mean wording of the concepts is taken away (not of the cache's captions, which change as it
grows), and the rest is scaled to unit norm. Of recordings nothing is taken away,
though centring both clouds is usual and damps hubs a little more: the mean of the user's recordings
holds what they have in common, and where they are of one kind that is the very answer. Measured on
ESC-10 with LAION-CLAP embeddings and 50 class texts, nearest text right: as they are 93.4 %, texts
centred 94.4 %, both centred 92.8 %; on the clips of one class alone: 75 to 100 %, 78 to 100 %, and
0 to 19 %.

**What a caption is about.** The concept whose centroid (the mean of its wordings) is nearest, if it
lies at least as near as three in four wordings lie to the centroid of the others (`floor`). Both
are texts, so no gap is in the way.

Letters: C concepts, M wordings, D embedding size, N captions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]

_SMALLEST = 1e-12
_QUARTILE = 0.25


@dataclass(frozen=True)
class Reference:
    """The concepts of a bank in one space.

    Attributes:
        wordings: [C, M, D], unit norm, not centred.
        centre: [D], what is taken away from every text.
        centroids: [C, D], unit norm, centred.
        floor: The cosine from which a caption is about its nearest concept.
    """

    wordings: Vectors
    centre: Vectors
    centroids: Vectors
    floor: float

    def about(self, captions: NDArray[Any]) -> NDArray[np.int64]:
        """Return the concept that each caption is about, -1 for none.

        Shape:
            captions [N, D] -> [N].
        """
        cosines = centred(captions, self.centre) @ self.centroids.T
        nearest = cosines.argmax(axis=1)
        near = cosines[np.arange(len(nearest)), nearest] >= self.floor
        return np.where(near, nearest, -1)


def make_reference(wordings: Vectors, calibration: Vectors) -> Reference:
    """Make the figures of a bank.

    Args:
        wordings: The bank's, embedded.
        calibration: Wordings of the concepts that `floor` is measured on, embedded; they count for
            the mean too, since that of two or three concepts would be the concepts themselves.

    Shape:
        wordings [C, M, D], calibration [C', M, D].
    """
    everything = np.concatenate([wordings, calibration])
    centre = everything.mean(axis=(0, 1), dtype=np.float64).astype(np.float32)
    return Reference(
        wordings=wordings,
        centre=centre,
        centroids=_unit(centred(wordings, centre).mean(axis=1)),
        floor=float(np.quantile(left_out_cosines(centred(calibration, centre)), _QUARTILE)),
    )


def centred(texts: NDArray[Any], centre: Vectors) -> Vectors:
    """Take the centre away from texts and scale them to unit norm.

    Shape:
        texts [..., D], centre [D] -> [..., D], float32.
    """
    return _unit(texts.astype(np.float32) - centre)


def left_out_cosines(wordings: Vectors) -> Vectors:
    """The cosine of each wording and the mean of its concept's other wordings.

    Shape:
        [C, M, D] -> [C, M].
    """
    others = _unit(wordings.sum(axis=1, keepdims=True) - wordings)
    return np.asarray((wordings * others).sum(axis=2))


def _unit(vectors: NDArray[Any]) -> Vectors:
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.maximum(norms, _SMALLEST)).astype(np.float32)
