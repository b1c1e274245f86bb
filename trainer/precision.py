"""In which numbers a trained separator infers: `no` (float32) or `bf16`, as `train` calls them.

In bf16 the transform, the masks and what is added up over layers stay float32: a separator chooses
what it can afford (`torch.autocast`). Processors without bfloat16 instructions give the same, but
no faster.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from cache_store.errors import UsageError

if TYPE_CHECKING:
    import torch

    from trainer.models import SeparatorModel

INFERENCE = ("no", "bf16")
_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}  # as Linux calls them on x86 and on ARM


def set_precision(model: SeparatorModel, precision: str) -> None:
    """Let a model infer so from now on.

    Raises:
        UsageError: There is no such precision.
    """
    if precision not in INFERENCE:
        raise UsageError("no such precision", where=precision, expected=" | ".join(INFERENCE))
    model.precision = precision


def precision_note(precision: str, device: torch.device) -> str:
    """What a user should know of their choice on this machine, "" for nothing."""
    if precision == "no":
        return ""
    if device.type == "cpu" and lacks_bf16(_cpuinfo()):
        return "this processor has no bfloat16 instructions: --precision bf16 will hardly be faster"
    if device.type == "cuda":
        import torch

        if not torch.cuda.is_bf16_supported(including_emulation=False):
            return "this GPU has no bfloat16 units: --precision bf16 will hardly be faster"
    return ""


def lacks_bf16(cpuinfo: str) -> bool:
    """Whether Linux's description of a processor lists its instructions, and none for bfloat16."""
    flags: set[str] = set()
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            flags.update(value.split())
    return bool(flags) and not flags & _FLAGS


def _cpuinfo() -> str:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # not Linux: nothing is known
        return ""
