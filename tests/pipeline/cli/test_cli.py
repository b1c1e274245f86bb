"""The command line as a whole: help, version, exit codes, and how light it is."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest
import typer

from cache_store import errors
from pipeline.cli import PROG, app
from tests.pipeline.cli.conftest import Cli

COMMANDS = ["import", "embed", "index", "search", "join", "show", "stats", "verify", "doctor"]
HEAVY = {"torch", "numpy", "pyarrow", "transformers", "datasets", "faiss", "openai", "scipy"}
HEAVY |= {"soundfile", "soxr", "pandas", "xllamacpp", "psutil", "accelerate"}


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import json, sys\n"
        "from pipeline.cli import PROG, app\n"
        "from cache_store import console\n"
        "console.run(app, PROG, ['--help'])\n"
        "print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    loaded = set(json.loads(result.stderr.splitlines()[-1]))
    assert loaded.isdisjoint(HEAVY)
    assert "rich" not in loaded


def test_the_epilog_documents_every_exit_code(cli: Cli) -> None:
    text = cli("--help").out
    for code in (
        errors.EXIT_OK,
        errors.EXIT_UNEXPECTED,
        errors.EXIT_USAGE,
        errors.EXIT_DATA,
        errors.EXIT_MISMATCH,
        errors.EXIT_REMOTE,
        errors.EXIT_INTERRUPTED,
    ):
        assert f"\n    {code} " in text


def test_the_list_of_commands_tells_each_in_one_whole_line(cli: Cli) -> None:
    text = cli("--help").out
    for name in COMMANDS:
        (line,) = [line for line in text.splitlines() if line.startswith(f"  {name} ")]
        assert line.endswith(".") and not line.endswith("...")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example_and_json(cli: Cli, name: str) -> None:
    outcome = cli(name, "--help")
    assert outcome.code == 0
    assert f"\n    lqtse-cache {name}" in outcome.out
    assert "--json" in outcome.out


def test_every_option_has_help() -> None:
    group = typer.main.get_command(app)
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_the_version_is_that_of_the_package(cli: Cli) -> None:
    outcome = cli("--version")
    assert (outcome.code, outcome.out) == (0, f"{PROG} {version('lqtse')}\n")


def test_no_command_shows_the_help(cli: Cli) -> None:
    assert "Commands:" in cli().out + cli().err


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["search"],
        ["import", "c"],
        ["embed", "c", "--dtype", "int8"],
        ["embed", "c", "--workers", "0"],
        ["index", "c", "--kind", "tree"],
        ["search", "c", "dog", "-k", "0"],
    ],
)
def test_a_wrong_command_line_is_a_usage_error(cli: Cli, words: list[str]) -> None:
    assert cli(*words).code == errors.EXIT_USAGE
