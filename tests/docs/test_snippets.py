"""The Python that docs/separate.md shows runs as it stands, with captions that the run knows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.world import CAPTIONS
from trainer import Separator

PAGE = Path(__file__).parents[2] / "docs" / "separate.md"
RATE = 8000


def snippet(holding: str) -> str:
    """The one Python block of the page that holds a text."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if holding in block]
    return str(found).replace("a dog barks", CAPTIONS[0]).replace('"rain"', f'"{CAPTIONS[1]}"')


@pytest.fixture
def here(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run in it, as the page has it."""
    (tmp_path / "run").symlink_to(run)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def sound(seconds: float = 1.0) -> Any:
    return 0.1 * np.random.default_rng(0).standard_normal(int(seconds * RATE)).astype(np.float32)


def test_separating_in_python(here: Path) -> None:
    waveform = sound()
    names: dict[str, Any] = {"waveform": waveform, "sample_rate": RATE}
    names["blocks"] = np.array_split(waveform[None], 4, axis=1)
    exec(snippet("separate_many"), names)
    assert names["estimate"].shape == waveform.shape
    assert len(names["both"]) == 2
    streamed = np.concatenate(names["parts"], axis=-1)
    alone = names["separator"].separate(waveform, RATE, query=CAPTIONS[0])
    assert streamed.shape == (1, len(waveform))
    assert names["both"][0] == pytest.approx(alone, abs=1e-6)
    assert names["verdict"].energy_share >= 0


def test_in_another_runtime(here: Path) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    import torch

    from trainer.exporting import export

    separator = Separator.load("run", device="cpu")
    facts = export(separator, "separator.onnx")
    mixture = sound(10.0)[None, : 4 * facts.block]
    names: dict[str, Any] = {"mixture": mixture}
    exec(snippet("InferenceSession"), names)
    given = [torch.from_numpy(np.asarray(names[name])) for name in ("mixture", "condition")]
    with torch.no_grad():
        own = separator.model(*given).numpy()
    # Sums in another order, in float32.
    np.testing.assert_allclose(names["estimate"], own, atol=2e-6)
