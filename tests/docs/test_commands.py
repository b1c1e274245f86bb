"""Every command that the documentation shows exists, with every option that it is shown with."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

from pipeline.cli import app as cache_app
from trainer.cli import app as trainer_app

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/*.md")])
APPS = {
    "lqtse-cache": typer.main.get_command(cache_app),
    "lqtse": typer.main.get_command(trainer_app),
}
_BLOCK = re.compile(r"^```(?:sh|bash|console)?\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"`(lqtse(?:-cache)? [^`\n]+)`")


def shown(page: Path) -> Iterator[list[str]]:
    """The words of each of our commands on a page."""
    text = page.read_text(encoding="utf-8")
    blocks = [part.replace("\\\n", " ") for part in _BLOCK.findall(text)]
    for line in [*_SPAN.findall(text), *(line for part in blocks for line in part.splitlines())]:
        for part in re.split(r"[|;]|&&", line):
            try:
                words = shlex.split(part, comments=True)
            except ValueError:  # prose
                continue
            if words and words[0] in APPS and len(words) > 1 and words[1].islower():
                yield words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_exist(page: Path) -> None:
    for words in shown(page):
        program, name, *rest = words
        if name.startswith("-"):
            continue
        group = APPS[program]
        assert name in group.commands, f"{page.name}: {shlex.join(words)}"  # type: ignore[attr-defined]
        command = group.commands[name]  # type: ignore[attr-defined]
        known = {
            option
            for parameter in command.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        } | {"--help"}
        for word in rest:
            option = word.split("=")[0]
            if re.fullmatch(r"--[a-z][a-z-]*|-[a-z]", option):
                assert option in known, f"{page.name}: {shlex.join(words)}: {option}"


def test_the_pages_show_commands() -> None:
    assert sum(len(list(shown(page))) for page in PAGES) > 80
