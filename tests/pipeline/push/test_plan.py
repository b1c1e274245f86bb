from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from shutil import which

import pytest

from cache_store.cache import open_cache
from cache_store.manifest import Manifest
from cache_store.writer import open_writer
from pipeline.push.plan import Item, RemoteFile, git_hash, outdated, plan_push, unsent
from tests.cache_store.builders import add_step


def item(path: str, content: bytes) -> Item:
    return Item(path, len(content), hashlib.sha256(content).hexdigest(), content)


def test_the_card_and_the_manifest_come_last_and_hashes_are_of_what_goes(cache: Path) -> None:
    with open_cache(cache) as opened:
        manifest = opened.manifest
    items = plan_push(cache, manifest)
    assert [one.path for one in items[-2:]] == ["README.md", "manifest/000002.json"]
    for one in items:
        content = one.read()
        assert content == (cache / one.path).read_bytes()
        assert (one.size, one.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_file_that_is_named_twice_goes_once(tmp_path: Path) -> None:
    add_step(tmp_path, 4)
    with open_writer(tmp_path) as writer:
        manifest = writer.publish(rejects=[*writer.current.rejects] * 2)
    paths = [one.path for one in plan_push(tmp_path, manifest)]
    assert len(paths) == len(set(paths)) == 5


def test_gits_hash_is_gits(tmp_path: Path) -> None:
    assert git_hash(b"") == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"  # known to every user of git
    if which("git") is None:
        pytest.skip("git is not installed")
    path = tmp_path / "x"
    path.write_bytes("größe\0\n".encode() * 1000)
    done = subprocess.run(
        ["git", "hash-object", "--no-filters", str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert git_hash(path.read_bytes()) == done.stdout.strip()


def test_only_what_is_there_bit_by_bit_need_not_be_sent() -> None:
    same, large, other, longer = (item(name, b"content") for name in ("a", "b", "c", "d"))
    large_hash = hashlib.sha256(b"content").hexdigest()
    remote = {
        "a": RemoteFile(7, git_hash(b"content")),
        "b": RemoteFile(7, "0" * 40, large_hash),
        "c": RemoteFile(7, git_hash(b"CONTENT")),
        "d": RemoteFile(8, git_hash(b"content")),
        "e": RemoteFile(7, "0" * 40, hashlib.sha256(b"CONTENT").hexdigest()),
    }
    missing, changed = item("f", b"content"), item("e", b"content")
    items = [same, large, other, longer, missing, changed]
    assert unsent(items, remote) == [other, longer, missing, changed]


def test_only_the_caches_own_folders_are_cleared() -> None:
    there = ["data/a", "data/b", "manifest/000001.json", "README.md", "LICENSE", "notes/x", "data"]
    assert outdated([item("data/a", b"")], there) == ["data/b", "manifest/000001.json"]


def test_an_empty_manifest_has_a_card_and_itself() -> None:
    manifest = Manifest(number=3).sealed()
    assert [one.path for one in plan_push(Path(), manifest)] == [
        "README.md",
        "manifest/000003.json",
    ]
