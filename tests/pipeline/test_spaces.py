from __future__ import annotations

from pathlib import Path

import pytest

from cache_store.errors import SpaceMismatchError, UsageError
from cache_store.manifest import SpaceRecord, named_space
from pipeline.spaces import absolute_spec, check_same, choose_spec, load_matching, loadable
from tests.pipeline.materials import DIM, HashSpace

HASH = HashSpace().record


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tiny", True),
        ("hf:some/model", True),
        ("laion:x.pt", True),
        ("stored:x.parquet", True),
        ("laion-clap:default:enable_fusion=False", False),
        ("a name", False),
    ],
)
def test_a_name_that_is_a_spec_can_be_loaded(name: str, expected: bool) -> None:
    assert loadable(named_space(name, DIM)) == expected


def test_the_users_choice_goes_before_the_caches_and_tiny_comes_last() -> None:
    assert choose_spec("hf:x", HASH) == "hf:x"
    assert choose_spec(None, HASH) == "hf:hash"
    assert choose_spec(None, None) == "tiny"
    with pytest.raises(UsageError, match=r"a name.*--space"):
        choose_spec(None, named_space("a name", DIM))


def test_the_fingerprint_decides_and_not_the_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache_store.spaces.load_space", lambda *_, **__: HashSpace())
    renamed = SpaceRecord("another name", HASH.fingerprint, DIM)
    assert load_matching("hf:hash", renamed).record == HASH
    with pytest.raises(SpaceMismatchError, match=r"hash:2.*hash:1"):
        load_matching(None, SpaceRecord("hf:hash", "hash:2", DIM))
    assert load_matching(None, None).record == HASH


def test_a_refusal_names_both_spaces() -> None:
    with pytest.raises(SpaceMismatchError, match=r"one.*named:.*two.*named:"):
        check_same(named_space("two", DIM), named_space("one", DIM))


def test_a_spec_is_the_same_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    (tmp_path / "clap").mkdir()
    assert absolute_spec("tiny") == "tiny"
    assert absolute_spec("hf:laion/clap-htsat-unfused") == "hf:laion/clap-htsat-unfused"
    assert absolute_spec("hf:clap") == f"hf:{tmp_path}/clap"
    assert absolute_spec("stored:~/t.parquet") == "stored:/home/me/t.parquet"
    assert absolute_spec("laion:/w/m.pt?tokenizer=t") == f"laion:/w/m.pt?tokenizer={tmp_path}/t"
    assert absolute_spec("laion:m.pt?tokenizer=hf:r") == f"laion:{tmp_path}/m.pt?tokenizer=hf:r"
