from __future__ import annotations

from pathlib import Path

import pytest

from tests.trainer.cli.test_cli import as_json, lqtse


def test_export_writes_one_file_and_says_how_to_call_it(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "separator.pt2"
    assert lqtse("export", run, "-o", path, "--json") == 0
    found = as_json(capsys)
    assert found["bytes"] == path.stat().st_size
    assert (found["sample_rate"], found["condition_dim"], found["model"]) == (8000, 6, "small")
    assert lqtse("export", run, "-o", tmp_path / "separator.bin") == 2
    assert "expected .onnx | .pt2" in capsys.readouterr().err
