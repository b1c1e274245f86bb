"""What all spaces share: specs, devices, unit norm."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cache_store.errors import UsageError
from cache_store.spaces import load_space, pick_device, unit


@pytest.mark.parametrize("spec", ["", "clap", "hf:", "laion:", "stored:", "tiny:x", "HF:a/b"])
def test_an_unknown_spec_lists_the_four_forms(spec: str) -> None:
    with pytest.raises(UsageError) as caught:
        load_space(spec)
    for form in ("tiny", "laion:CHECKPOINT", "hf:ID_OR_FOLDER", "stored:FILE.parquet"):
        assert form in caught.value.message


@pytest.mark.parametrize("device", ["gpu", "cuda:99", "", "cpu cpu"])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    with pytest.raises(UsageError, match="this device cannot be used here"):
        pick_device(device)


def test_auto_is_a_device() -> None:
    assert pick_device("auto") in ("cpu", "cuda")


def test_unit_scales_rows_and_leaves_zero_alone() -> None:
    got = unit(np.array([[3e30, 4e30], [1e-8, 0.0], [0.0, 0.0]]))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, [[0.6, 0.8], [1, 0], [0, 0]], atol=1e-7)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, cache_store.spaces; "
        "print([name for name in ('torch', 'transformers', 'pyarrow', 'soxr') "
        "if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"
