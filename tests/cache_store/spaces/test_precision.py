from __future__ import annotations

import platform
from pathlib import Path

import pytest
import torch

from cache_store.errors import UsageError
from cache_store.spaces import load_space
from cache_store.spaces.precision import pick_precision


@pytest.mark.parametrize("device", ["cpu", "cuda", "cuda:1"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_precision_that_is_named_is_taken(precision: str, device: str) -> None:
    assert pick_precision(precision, device) == precision


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match=r"float32 or bfloat16.*int8"):
        pick_precision("int8", "cpu")


@pytest.mark.skipif(not Path("/proc/cpuinfo").is_file(), reason="the oracle is Linux's list")
@pytest.mark.skipif(platform.machine() != "x86_64", reason="the features are x86's")
def test_auto_is_bfloat16_where_the_cpu_has_matrix_instructions() -> None:
    flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
    has = "avx512_bf16" in flags or "amx_bf16" in flags
    assert pick_precision("auto", "cpu") == ("bfloat16" if has else "float32")


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({"avx512_bf16": True}, "bfloat16"),
        ({"amx_bf16": True, "avx512_bf16": False}, "bfloat16"),
        ({"avx512_f": True, "avx2": True}, "float32"),
        ({}, "float32"),
    ],
)
def test_the_cpu_decides(
    monkeypatch: pytest.MonkeyPatch, capabilities: dict[str, bool], expected: str
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities, raising=False)
    assert pick_precision("auto", "cpu") == expected


@pytest.mark.parametrize("supported", [True, False])
def test_an_older_torch_is_asked_in_its_way(
    monkeypatch: pytest.MonkeyPatch, supported: bool
) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: supported, raising=False)
    assert pick_precision("auto", "cpu") == ("bfloat16" if supported else "float32")


@pytest.mark.parametrize(
    ("generation", "expected"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")]
)
def test_the_gpu_decides(
    monkeypatch: pytest.MonkeyPatch, generation: tuple[int, int], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: generation)
    assert pick_precision("auto", "cuda") == expected


def test_a_space_with_float32_alone_says_so() -> None:
    assert load_space("tiny", device="cpu", precision="auto").precision == "float32"
    with pytest.raises(UsageError, match="tiny computes in float32 alone"):
        load_space("tiny", device="cpu", precision="bfloat16")
