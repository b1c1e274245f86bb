"""Imports between the packages go one way only, and the command lines start light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "prompts": set(),
    "cache_store": set(),
    "pipeline": {"prompts", "cache_store"},
    "trainer": {"cache_store"},
}
HEAVY = ("torch", "transformers", "datasets", "faiss", "openai", "pyarrow", "numpy")


def imported_packages(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_those_below_it(package: str) -> None:
    others = set(MAY_IMPORT) - {package} - MAY_IMPORT[package]
    wrong = {
        (str(path.relative_to(ROOT)), name)
        for path in (ROOT / package).rglob("*.py")
        for name in imported_packages(path)
        if name in others | {"tests", "benchmarks", "examples"}
    }
    assert wrong == set()


@pytest.mark.parametrize("module", ["pipeline.cli", "trainer.cli"])
def test_a_command_line_loads_nothing_heavy_for_its_help(module: str) -> None:
    code = (
        f"import sys, {module}\n"
        "from cache_store import console\n"
        f"code = console.run({module}.app, 'x', ['--help'])\n"
        f"print(code, sorted(set(sys.modules) & set({HEAVY!r})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.splitlines()[-1] == "0 []"
