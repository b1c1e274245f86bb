"""What is said of `--precision`."""

from __future__ import annotations

from cache_store import console


def tell_precision(precision: str, device: str) -> None:
    """Say it where the machine gains nothing by it.

    Raises:
        UsageError: There is no such device.
    """
    if precision == "no":
        return
    import torch

    from cache_store.spaces.base import pick_device
    from trainer.precision import precision_note

    if note := precision_note(precision, torch.device(pick_device(device))):
        console.note(note)
