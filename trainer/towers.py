"""The audio tower that a run's separator hears through, found again and checked.

A checkpoint holds none of its weights, so it is loaded from where the run says, or from where the
user says with `--space`; its space has to have the fingerprint of the run's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cache_store.errors import DataError, UsageError
from trainer.queries import check_space, is_model

if TYPE_CHECKING:
    from cache_store.spaces.tower import AudioTower
    from trainer.run import RunRecord


def run_tower(record: RunRecord, spec: str = "") -> AudioTower | None:
    """The tower of a run, on the CPU; None for a separator that needs none.

    Args:
        record: The run.
        spec: What the user names in place of the run's own space, as `--space` takes it; a
            `stored:` table has no tower and is passed over.

    Raises:
        UsageError: Nothing names a model, or the model has no audio tower.
        DataError: The model is not where it was, or is damaged.
        SpaceMismatchError: It is not the one that the run was trained in.
    """
    from cache_store.spaces import audio_tower, load_space
    from trainer.models import needs_tower

    if not needs_tower(record.model):
        return None
    named = (spec, record.space_spec, record.space.name if is_model(record.space) else "")
    source = next((name for name in named if name and not name.startswith("stored:")), "")
    if not source:
        raise UsageError(
            f"the run hears through the audio tower of {record.space.name!r}, and nothing says "
            "where that is",
            hint="Name the model: --space laion:CHECKPOINT | hf:ID_OR_FOLDER",
        )
    try:
        space = load_space(source, device="cpu")
    except DataError as error:
        raise DataError(
            f"the run hears through the audio tower of {record.space.name!r}, which cannot be "
            "loaded",
            where=source,
            expected=record.space.fingerprint,
            found=error.message,
            hint="Name where it is now: --space laion:CHECKPOINT | hf:ID_OR_FOLDER",
        ) from error
    check_space(space.record, record.space, f"--space {source}")
    return audio_tower(space)
