"""In which precision a text tower computes: bfloat16 where the device multiplies it faster.

`auto` asks what the device can do and takes no timing, so that one machine always chooses alike and
its reruns give the same bits. On a CPU the matrix instructions for bfloat16 decide (AMX, or AVX-512
BF16: twice the float32 rate measured on the latter); without them bfloat16 is emulated and slower.
Vectors of both agree to a cosine of about 0.9999.
"""

from __future__ import annotations

from cache_store.errors import UsageError

PRECISIONS = ("float32", "bfloat16")
_FIRST_CUDA_GENERATION = (8, 0)  # whose matrix units take bfloat16
_CPU_FEATURES = ("amx_bf16", "avx512_bf16")
_CPU_QUESTIONS = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")  # torch before 2.13


def pick_precision(precision: str, device: str) -> str:
    """Return `float32` or `bfloat16`; `auto` is what suits the device.

    Args:
        precision: `auto`, `float32` or `bfloat16`.
        device: A torch device; it need not be one of this machine's.

    Raises:
        UsageError: For any other precision.
    """
    if precision == "auto":
        return "bfloat16" if _has_matrix_instructions(device) else "float32"
    if precision not in PRECISIONS:
        raise UsageError(
            "unknown precision", expected=f"auto, {' or '.join(PRECISIONS)}", found=precision
        )
    return precision


def only_float32(precision: str, space: str) -> str:
    """Return `float32` for a space that knows nothing else.

    Raises:
        UsageError: Another one was asked for.
    """
    if precision not in ("auto", "float32"):
        raise UsageError(
            f"{space} computes in float32 alone",
            expected="auto or float32",
            found=precision,
        )
    return "float32"


def _has_matrix_instructions(device: str) -> bool:
    import torch

    kind = torch.device(device).type
    if kind == "cuda":
        # Without one here, it is a worker's on another machine: few older ones are left.
        return (
            not torch.cuda.is_available()
            or torch.cuda.get_device_capability(device) >= _FIRST_CUDA_GENERATION
        )
    return kind == "cpu" and torch.backends.mkldnn.is_available() and _cpu_has_them()


def _cpu_has_them() -> bool:
    import torch

    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return any(found.get(name, False) for name in _CPU_FEATURES)
    return any(getattr(torch.cpu, name, bool)() for name in _CPU_QUESTIONS)
