"""How good a separation is, in dB, and by how much it beats the mixture.

"SDR" means two things in this field. Here it is what AudioSep and DCASE report: the plain ratio of
the reference's energy to the error's, without the 512-tap filter of BSS-eval (which gives higher
numbers). SI-SDR is Le Roux et al., "SDR: half-baked or well done?" (ICASSP 2019, equation 5),
without removing means first, as AudioSep computes it. An improvement, written with an i at the
end, is the estimate's value less the mixture's own.

Letters: B batch, T samples.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cache_store.errors import MismatchError

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
