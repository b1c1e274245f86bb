from __future__ import annotations

import pytest
import torch

from cache_store.errors import UsageError
from cache_store.spaces.tiny.space import load_tiny
from tests.trainer.models.test_unet import noise, unit
from trainer.models import MODELS, build_model, needs_tower
from trainer.precision import lacks_bf16, precision_note, set_precision
from trainer.streaming import separate_blocks

SIZES = {"resunet": {"channels": [4, 6, 8]}, "base": {"channels": [4, 6, 8]}}


@pytest.mark.parametrize("name", MODELS)
def test_every_separator_infers_in_bf16_close_to_float32(name: str) -> None:
    tower = load_tiny("cpu").audio_tower() if needs_tower(name) else None
    model = build_model(name, SIZES.get(name), tower=tower, condition_dim=5, sample_rate=8000)
    model.eval()
    mixture = 0.1 * noise(1, 24_000).numpy()

    def estimate() -> torch.Tensor:
        parts = separate_blocks(model, [mixture], unit(5), torch.full((1,), 0.1))
        return torch.cat([torch.from_numpy(part) for part in parts], dim=1)

    exact = estimate()
    set_precision(model, "bf16")
    half = estimate()
    assert half.dtype == torch.float32
    assert not torch.equal(half, exact)
    # bfloat16 has 8 binary digits, so an error of about 1/256 for each rounding.
    error = (half - exact).square().sum()
    assert 10 * torch.log10(exact.square().sum() / error) > 30


def test_another_precision_is_told() -> None:
    model = build_model("small", condition_dim=5, sample_rate=8000)
    with pytest.raises(UsageError, match=r"no such precision: fp16 .expected no \| bf16"):
        set_precision(model, "fp16")


@pytest.mark.parametrize(
    ("cpuinfo", "lacks"),
    [
        ("processor : 0\nflags\t\t: fpu sse2 avx512_bf16 avx512f\n", False),
        ("Features\t: fp asimd bf16 i8mm\n", False),
        ("flags\t\t: fpu sse2 avx2\n", True),
        ("Features\t: fp asimd\n", True),
        ("", False),  # nothing is known, so nothing is said
    ],
)
def test_a_processor_is_known_by_its_flags(cpuinfo: str, lacks: bool) -> None:
    assert lacks_bf16(cpuinfo) is lacks


def test_nothing_is_said_of_float32() -> None:
    assert precision_note("no", torch.device("cpu")) == ""
