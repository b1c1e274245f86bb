from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from cache_store.errors import MissingDependencyError, UsageError
from tests.trainer.models.test_real_arithmetic import shaken
from tests.trainer.world import CAPTIONS
from trainer.exporting import FACTS, INPUTS, OUTPUT, Exported, export
from trainer.models.real_arithmetic import RealSeparator
from trainer.separate import Separator


@pytest.fixture(scope="module", params=["small", "resunet"])
def separator(run: Path, request: pytest.FixtureRequest) -> Separator:
    loaded = Separator.load(run, device="cpu")
    if request.param == loaded.record.model:
        return loaded
    model = shaken("resunet", channels=[4, 6])
    return Separator(model, replace(loaded.record, model="resunet"), loaded.queries)


@pytest.fixture(scope="module")
def exported(separator: Separator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "separator.onnx"
    export(separator, path)
    return path


def inputs(separator: Separator, blocks: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(blocks)
    mixture = 0.1 * rng.normal(size=(1, blocks * RealSeparator(separator.model).block))
    return {
        "mixture": mixture.astype(np.float32),
        "condition": separator.queries.embed([CAPTIONS[0]]).astype(np.float32),
        "level": np.array([0.1], np.float32),
    }


def expected(separator: Separator, given: dict[str, np.ndarray]) -> np.ndarray:
    with torch.no_grad():
        found = separator.model(*(torch.from_numpy(given[name]) for name in INPUTS))
    return found.numpy()


@pytest.mark.parametrize("blocks", [1, 3, 40])
def test_onnxruntime_gives_the_same_samples_at_any_length(
    separator: Separator, exported: Path, blocks: int
) -> None:
    session = onnxruntime.InferenceSession(str(exported), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == list(INPUTS)
    given = inputs(separator, blocks)
    (found,) = session.run([OUTPUT], given)
    right = expected(separator, given)
    assert found.dtype == np.float32
    assert found.shape == right.shape
    # Sums in another order, in float32.
    np.testing.assert_allclose(found, right, atol=2e-6)


def test_the_onnx_file_says_how_to_call_it(separator: Separator, exported: Path) -> None:
    model = onnx.load(str(exported))
    onnx.checker.check_model(model)
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["lqtse.sample_rate"] == str(separator.record.sample_rate)
    assert said["lqtse.block"] == str(RealSeparator(separator.model).block)
    assert said["lqtse.fingerprint"] == separator.record.space.fingerprint


def test_the_program_of_torch_export_is_the_same_too(separator: Separator, tmp_path: Path) -> None:
    path = tmp_path / "separator.pt2"
    facts = export(separator, path)
    extra = {FACTS: ""}
    program = torch.export.load(io.BytesIO(path.read_bytes()), extra_files=extra)
    assert Exported(**json.loads(extra[FACTS])) == facts
    given = inputs(separator, 5)
    with torch.no_grad():
        found = program.module()(*(torch.from_numpy(given[name]) for name in INPUTS)).numpy()
    np.testing.assert_allclose(found, expected(separator, given), atol=2e-6)
    assert [one.name for one in tmp_path.iterdir()] == ["separator.pt2"]


def test_another_ending_is_told(separator: Separator, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"separator\.tflite \(expected \.onnx \| \.pt2\)"):
        export(separator, tmp_path / "separator.tflite")
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told_with_the_line_that_installs_it(
    separator: Separator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingDependencyError, match=r"pip install 'lqtse\[onnx\]'"):
        export(separator, tmp_path / "separator.onnx")
