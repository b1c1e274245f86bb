"""How good a separation is, in dB, and by how much it beats the mixture.

"SDR" means two things in this field. `sdr` is what AudioSep and DCASE report: the plain ratio of
the reference's energy to the error's. `bss_sdr` is BSS-eval's, which lets a filter of 512 taps pass
and so gives higher numbers; CLAPSep reports it. SI-SDR is Le Roux et al., "SDR: half-baked or well
done?" (ICASSP 2019, equation 5), without removing means first, as AudioSep computes it. An
improvement, written with an i at the end, is the estimate's value less the mixture's own.

Letters: B batch, T samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cache_store.errors import MismatchError, MissingDependencyError

BSS_TAPS = 512  # of BSS-eval's filter, as museval, mir_eval and torchmetrics have it
FLOOR = 1e-10  # of a mean square, so that silence gives a number


def sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Signal-to-distortion ratio in dB: `10 log10(mean(r^2) / mean((e - r)^2))`.

    Both means are at least 1e-10.

    Shape:
        - estimate, reference: `[..., T]`
        - returns: `[...]`

    Raises:
        MismatchError: The shapes differ.
    """
    _same_shape(estimate, reference)
    return _ratio_db(_power(reference), _power(estimate - reference))


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Scale-invariant SDR in dB; no mean is removed.

    With `s = a r` and `a = <e, r> / <r, r>`, it is `10 log10(mean(s^2) / mean((e - s)^2))`. The
    floor is relative to the estimate's power, so that the value does not change with its scale.

    Shape:
        - estimate, reference: `[..., T]`
        - returns: `[...]`

    Raises:
        MismatchError: The shapes differ.
    """
    _same_shape(estimate, reference)
    scale = (estimate * reference).mean(-1) / _power(reference).clamp_min(FLOOR)
    projected = scale.unsqueeze(-1) * reference
    level = _power(estimate).clamp_min(FLOOR)
    return _ratio_db(_power(projected) / level, _power(estimate - projected) / level)


def sdri(estimate: Tensor, reference: Tensor, mixture: Tensor) -> Tensor:
    """By how many dB `sdr` is better than that of the mixture. Shape: `[..., T]` to `[...]`."""
    return sdr(estimate, reference) - sdr(mixture, reference)


def si_sdri(estimate: Tensor, reference: Tensor, mixture: Tensor) -> Tensor:
    """By how many dB `si_sdr` is better than that of the mixture. Shape: `[..., T]` to `[...]`."""
    return si_sdr(estimate, reference) - si_sdr(mixture, reference)


def bss_sdr(estimate: Tensor, reference: Tensor, taps: int = BSS_TAPS) -> Tensor:
    """SDR in dB as BSS-eval has it: the estimate may be any filtering of the reference.

    What counts as target is the part of the estimate that a filter of `taps` makes of the
    reference (Vincent, Gribonval and Fevotte, IEEE TASLP 2006), so it is never below `si_sdr` but
    for rounding. By torchmetrics, in float64.

    Shape:
        - estimate, reference: `[..., T]`
        - returns: `[...]`, float32

    Raises:
        MismatchError: The shapes differ.
        MissingDependencyError: torchmetrics is not installed.
    """
    _same_shape(estimate, reference)
    try:
        from torchmetrics.functional.audio import signal_distortion_ratio
    except ImportError as error:
        raise MissingDependencyError(
            "BSS-eval needs the package torchmetrics",
            hint="Install it: pip install 'lqtse[bss]'",
        ) from error
    found = signal_distortion_ratio(estimate.double(), reference.double(), filter_length=taps)
    return found.float()


def bss_metrics(estimate: Tensor, reference: Tensor, mixture: Tensor) -> dict[str, Tensor]:
    """`bss_sdr` and its improvement over the mixture, `bss_sdri`. Shape: `[B, T]` to `[B]`."""
    after = bss_sdr(estimate, reference)
    return {"bss_sdr": after, "bss_sdri": after - bss_sdr(mixture, reference)}


def all_metrics(estimate: Tensor, reference: Tensor, mixture: Tensor) -> dict[str, Tensor]:
    """The four metrics by name, and the mixture's own SDR.

    Shape:
        - estimate, reference, mixture: `[B, T]`
        - returns: `[B]` each of `sdr`, `sdri`, `si_sdr`, `si_sdri`, `sdr_mixture`
    """
    before, before_si = sdr(mixture, reference), si_sdr(mixture, reference)
    after, after_si = sdr(estimate, reference), si_sdr(estimate, reference)
    return {
        "sdr": after,
        "sdri": after - before,
        "si_sdr": after_si,
        "si_sdri": after_si - before_si,
        "sdr_mixture": before,
    }


def _power(signal: Tensor) -> Tensor:
    return signal.square().mean(-1)


def _ratio_db(signal: Tensor, error: Tensor) -> Tensor:
    return 10 * torch.log10(signal.clamp_min(FLOOR) / error.clamp_min(FLOOR))


def _same_shape(estimate: Tensor, reference: Tensor) -> None:
    if estimate.shape != reference.shape:
        raise MismatchError(
            "an estimate and its reference differ in shape",
            expected=tuple(reference.shape),
            found=tuple(estimate.shape),
        )
