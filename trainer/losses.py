"""What training minimises: one number from estimates and targets.

    snr      the negative of `metrics.sdr`, in dB: every mixture counts alike, loud or quiet
    si_sdr   the negative of `metrics.si_sdr`, in dB: the scale of the output is left free
    l1       the mean absolute error of the waves: loud mixtures count more

Letters: B batch, T samples.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from cache_store.errors import UsageError
from trainer.metrics import sdr, si_sdr

Loss = Callable[[Tensor, Tensor], Tensor]


def snr_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean negative SDR in dB. Shape: two of `[B, T]` to a scalar."""
    return -sdr(estimate, target).mean()


def si_sdr_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean negative SI-SDR in dB. Shape: two of `[B, T]` to a scalar."""
    return -si_sdr(estimate, target).mean()


def l1_loss(estimate: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of the waves. Shape: two of `[B, T]` to a scalar."""
    return (estimate - target).abs().mean()


LOSSES: dict[str, Loss] = {"snr": snr_loss, "si_sdr": si_sdr_loss, "l1": l1_loss}


def build_loss(name: str) -> Loss:
    """The loss called `name`.

    Raises:
        UsageError: There is none of that name.
    """
    if name not in LOSSES:
        raise UsageError("no such loss", where=name, expected=" | ".join(LOSSES))
    return LOSSES[name]
