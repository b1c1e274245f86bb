from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.errors import EXIT_DATA, EXIT_MISMATCH, EXIT_OK, EXIT_REMOTE, EXIT_USAGE
from tests.pipeline.cli.conftest import Cli
from tests.pipeline.push.conftest import hub
from tests.pipeline.push.hub_server import TOKEN, Hub, Rule

__all__ = ["hub"]


def test_a_dry_run_lists_what_a_push_then_sends(embedded_cache: Path, hub: Hub, cli: Cli) -> None:
    dry = cli("push", embedded_cache, "captions", "--dry-run", "--json")
    assert dry.code == EXIT_OK
    assert hub.log == []
    listed = {one["path"]: one["bytes"] for one in dry.json["list"]}
    shown = cli("push", embedded_cache, "captions", "--dry-run", "--private")
    lines = [line.split() for line in shown.out.splitlines() if "/" in line or "README" in line]
    for path, size in listed.items():
        assert [f"{size:,}", path] in lines
    assert shown.out.splitlines()[-1].endswith("captions --private")
    done = cli("push", embedded_cache, "captions", "--json")
    assert done.code == EXIT_OK, done.err
    content = hub.content("tester/captions")
    assert {path: len(content[path]) for path in content if path != ".gitattributes"} == listed
    assert done.json["bytes_sent"] == sum(listed.values()) == done.json["bytes"]
    assert done.json["repository"] == "tester/captions"


def test_a_push_tells_what_went_and_what_to_run_next(
    embedded_cache: Path, hub: Hub, cli: Cli
) -> None:
    outcome = cli("push", embedded_cache, "captions", "--revision", "trial")
    assert outcome.code == EXIT_OK
    assert f"{hub.address}/datasets/tester/captions/commit/" in outcome.out
    assert 'load_dataset("tester/captions", revision="trial")' in outcome.out
    again = cli("push", embedded_cache, "captions", "--revision", "trial")
    assert "the hub has all of it" in again.out
    assert TOKEN not in outcome.out + outcome.err + again.out + again.err


@pytest.mark.parametrize(("status", "code"), [("503", EXIT_REMOTE), ("401", EXIT_REMOTE)])
def test_the_hubs_failures_are_code_5(
    embedded_cache: Path, hub: Hub, cli: Cli, status: str, code: int
) -> None:
    hub.rules.append(Rule("POST", "repos/create", status))
    outcome = cli("push", embedded_cache, "captions")
    assert outcome.code == code
    assert f"HTTP {status}" in outcome.error and TOKEN not in outcome.error


def test_mistakes_have_codes_of_their_own(
    embedded_cache: Path, tmp_path: Path, hub: Hub, cli: Cli
) -> None:
    assert cli("push", tmp_path / "none", "captions").code == EXIT_DATA
    assert cli("push", embedded_cache, "a/b/c").code == EXIT_USAGE
    assert cli("push", embedded_cache, "captions", "--report").code == EXIT_DATA
    cli("push", embedded_cache, "captions")
    assert cli("push", embedded_cache, "captions", "--private").code == EXIT_MISMATCH
