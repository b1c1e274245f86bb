"""The user's audio as queries for `index` and `report`: stored embeddings, or recordings.

Whatever `join` takes will do. Recordings are heard with the cache's own space, as `grow` hears
them: what was computed is kept in the cache's folder `grow/`, so a second command, or a rerun, only
reads it.

Letters: n queries, D embedding size.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cache_store.errors import UsageError
from pipeline.progress import Progress, quiet
from pipeline.spaces import load_matching

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from cache_store.cache import Cache


@dataclass(frozen=True)
class Queries:
    """Audio to ask a cache with.

    Attributes:
        name: Of the file or folder.
        vectors: Embeddings of the cache's space, float32 [n, D], unit norm.
        heard: How many of them were computed from recordings; 0 if they were stored.
        rejects: The recordings that cannot be used: (name, reason).
    """

    name: str
    vectors: NDArray[np.float32]
    heard: int = 0
    rejects: tuple[tuple[str, str], ...] = ()

    def spread(self, most: int) -> NDArray[np.float32]:
        """At most so many of the embeddings, evenly spread over all."""
        return self.vectors[:: -(-len(self.vectors) // most)]


def read_queries(
    cache: Cache,
    audio: str | Path,
    *,
    most: int,
    space: str | None = None,
    space_name: str | None = None,
    device: str = "auto",
    progress: Progress = quiet,
) -> Queries:
    """Read the user's audio.

    Args:
        cache: What it is compared with.
        audio: A folder or a manifest; embeddings that it stores are used as they are, all of them.
        most: With more recordings than this, so many are drawn.
        space: A model of the cache's space, None for the one that it names.
        space_name: Where stored embeddings came from, if the manifest does not say.
        device: Where to hear recordings.
        progress: How to show that.

    Raises:
        UsageError: If the audio is not there, or the space cannot be loaded or cannot hear.
        EmptyInputError: If there is no recording, or none can be used.
        SpaceMismatchError: If stored embeddings, or the model, are not of the cache's space.
    """
    import numpy as np

    from cache_store.clips import read_clips

    table = read_clips(audio, space_name=space_name)
    name = Path(audio).name
    if table.embeddings is not None and table.space is not None:
        cache.require_space(table.space, f"the queries of {audio}")
        return Queries(name, np.asarray(table.embeddings, dtype=np.float32))
    from cache_store.spaces import pick_device
    from pipeline.grow.recordings import read_recordings

    model = load_matching(space, cache.space, device=pick_device(device))
    if model.sample_rate <= 0:
        raise UsageError(
            f"{model.name} has no audio tower, and the queries have no column `embedding`",
            where=audio,
            hint="Name a model of the cache's space with --space",
        )
    found = read_recordings(cache.path, audio, model, most=most, progress=progress)
    rejects = tuple((reject.name, reject.reason) for reject in found.rejects)
    return Queries(name, found.vectors, len(found.vectors), rejects)
