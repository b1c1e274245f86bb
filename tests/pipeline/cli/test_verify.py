from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.errors import EXIT_DATA, EXIT_OK
from tests.pipeline.cli.conftest import Cli


@pytest.fixture
def whole_cache(embedded_cache: Path, cli: Cli) -> Path:
    assert cli("index", embedded_cache, "--kind", "flat").code == EXIT_OK
    return embedded_cache


def test_a_whole_cache(whole_cache: Path, cli: Cli) -> None:
    outcome = cli("verify", whole_cache)
    assert outcome.code == EXIT_OK
    assert "is whole" in outcome.out and "fault:" not in outcome.out
    facts = cli("verify", whole_cache, "--json").json
    assert facts["faults"] == [] and facts["embedded_rows_checked"] == 12


@pytest.mark.parametrize("kind", ["data/*.parquet", "index/*.npy", "index/*.faiss", "manifest/*"])
@pytest.mark.parametrize("how", ["flip", "cut", "lose"])
def test_damage_is_named_with_code_3(whole_cache: Path, cli: Cli, kind: str, how: str) -> None:
    path = sorted(whole_cache.glob(kind))[-1]
    data = bytearray(path.read_bytes())
    if how == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif how == "cut":
        path.write_bytes(data[:-10])
    else:
        path.unlink()
    outcome = cli("verify", whole_cache)
    if how == "lose" and kind == "manifest/*":
        # The newest manifest gone is the state before it: its index is a stranger, not a fault.
        assert outcome.code == EXIT_OK and "note:" in outcome.err
        return
    assert outcome.code == EXIT_DATA
    assert "is damaged" in outcome.out
    faults = [line for line in outcome.out.splitlines() if line.startswith("fault: ")]
    assert any(path.name in line for line in faults)
    again = cli("verify", whole_cache, "--json")
    assert again.code == EXIT_DATA
    assert path.relative_to(whole_cache).as_posix() in {
        fault["path"] for fault in again.json["faults"]
    }


def test_two_faults_are_two_lines(whole_cache: Path, cli: Cli) -> None:
    for kind in ("data/*.parquet", "index/*.faiss"):
        (path,) = whole_cache.glob(kind)
        path.write_bytes(path.read_bytes()[:-1])
    outcome = cli("verify", whole_cache)
    places = {line.split(":")[1] for line in outcome.out.splitlines() if line.startswith("fault")}
    assert len(places) >= 2


def test_no_cache(tmp_path: Path, cli: Cli) -> None:
    outcome = cli("verify", tmp_path)
    assert outcome.code == EXIT_DATA and "no cache" in outcome.error
