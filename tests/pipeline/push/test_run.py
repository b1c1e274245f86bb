from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from cache_store.cache import open_cache
from cache_store.compact import compact_cache
from cache_store.errors import (
    AuthenticationError,
    BadAnswerError,
    DamagedError,
    DataError,
    MismatchError,
    RateLimitError,
    RemoteError,
    UnreachableError,
    UsageError,
)
from cache_store.repair import repair_cache
from cache_store.text import caption_id
from cache_store.writer import open_writer
from pipeline.push import push_cache
from tests.cache_store.builders import add_step, captions, flip_bit
from tests.pipeline.push.hub_server import TOKEN, Hub, Rule

NAME = "tester/captions"


def named(path: Path) -> dict[str, bytes]:
    """What the newest manifest names, the manifest and the card, with their bytes."""
    with open_cache(path) as cache:
        names = {entry.path for entry in cache.manifest.files()}
        names |= {f"manifest/{cache.manifest.number:06d}.json", "README.md"}
    return {name: (path / name).read_bytes() for name in names}


def there(hub: Hub, branch: str = "main") -> dict[str, bytes]:
    """What the hub shows, without its own .gitattributes."""
    found = hub.content(NAME, branch)
    found.pop(".gitattributes")
    return found


def test_exactly_what_the_manifest_names_goes_in_one_commit(hub: Hub, cache: Path) -> None:
    done = push_cache(cache, "captions")
    assert there(hub) == named(cache)
    assert len(hub.repos[NAME].commits) == 2  # the hub's own first one, and ours
    assert (done.repo, done.branch, done.removed, done.dry) == (NAME, "main", (), False)
    assert (
        {item.path for item in done.sent} == {item.path for item in done.files} == {*named(cache)}
    )
    assert done.address.startswith(f"{hub.address}/datasets/{NAME}/commit/")
    assert all(b"secret of" not in content for content in there(hub).values())


def test_what_repair_moved_aside_stays_here(hub: Hub, cache: Path) -> None:
    with open_cache(cache) as store:
        moved = store.manifest.rejects[0].path
    flip_bit(cache / moved, 4000)
    damaged = (cache / moved).read_bytes()
    assert repair_cache(cache).quarantined
    assert damaged in {path.read_bytes() for path in (cache / "quarantine").iterdir()}
    for dry in (True, False):
        done = push_cache(cache, "captions", dry=dry)
        assert not [item.path for item in done.files if "quarantine" in item.path]
    assert there(hub) == named(cache)
    assert damaged not in there(hub).values()


def test_pushing_again_sends_nothing(hub: Hub, cache: Path) -> None:
    push_cache(cache, NAME)
    hub.log.clear()
    again = push_cache(cache, NAME)
    assert (again.sent, again.removed, again.address) == ((), (), "")
    assert {method for method, path in hub.log if "create" not in path} == {"GET"}


def test_what_is_new_goes_and_what_is_outdated_leaves(hub: Hub, cache: Path) -> None:
    push_cache(cache, NAME)
    before = named(cache)
    hub.puts.clear()
    add_step(cache, 5, first=21)
    with open_writer(cache) as writer:
        gone = writer.current.rejects[0].path
        writer.publish(rejects=writer.current.rejects[1:])
    done = push_cache(cache, NAME)
    assert there(hub) == named(cache)
    new = set(named(cache)) - set(before)
    assert {item.path for item in done.sent} == {*new, "README.md"}
    assert len(hub.puts) == 3  # captions, data and rejects of the third step
    assert set(done.removed) == {gone, "manifest/000002.json"}


def test_other_files_of_the_repository_stay(hub: Hub, cache: Path) -> None:
    push_cache(cache, NAME)
    repo = hub.repos[NAME]
    mine = {**repo.commits[repo.branches["main"]], "LICENSE": b"mine", "data.csv": b"mine"}
    repo.commit("main", mine, "by hand")
    add_step(cache, 5, first=21)
    push_cache(cache, NAME)
    assert there(hub) == {**named(cache), "LICENSE": b"mine", "data.csv": b"mine"}


def test_the_card_goes_as_the_manifest_has_it(hub: Hub, cache: Path) -> None:
    card = (cache / "README.md").read_bytes()
    (cache / "README.md").write_text("edited by hand")
    push_cache(cache, NAME)
    assert there(hub)["README.md"] == card


def test_a_report_goes_only_if_it_is_asked_for(hub: Hub, cache: Path) -> None:
    push_cache(cache, NAME, report=True)
    assert there(hub)["report/index.html"] == b"secret of report/index.html"
    shutil.rmtree(cache / "report")
    push_cache(cache, NAME)
    assert "report/index.html" in there(hub)
    with pytest.raises(DataError, match=r"no report: .*lqtse-cache report"):
        push_cache(cache, NAME, report=True)


def test_a_dry_run_asks_nobody_and_lists_everything(hub: Hub, cache: Path) -> None:
    done = push_cache(cache, NAME, dry=True)
    assert hub.log == []
    assert {item.path: item.size for item in done.files} == {
        name: len(content) for name, content in named(cache).items()
    }
    push_cache(cache, NAME)
    assert set(there(hub)) == {item.path for item in done.files}


@pytest.mark.parametrize("dry", [False, True])
def test_a_damaged_file_is_found_before_anything_is_sent(hub: Hub, cache: Path, dry: bool) -> None:
    with open_cache(cache) as opened:
        entry = opened.manifest.rejects[1]
    flip_bit(cache / entry.path, 8 * (entry.bytes // 2))
    with pytest.raises(DamagedError, match=f"does not match its hash: .*{entry.path}"):
        push_cache(cache, NAME, dry=dry)
    assert hub.log == []


def test_a_branch_of_its_own(hub: Hub, cache: Path) -> None:
    for _ in range(2):
        done = push_cache(cache, NAME, branch="trial")
    assert there(hub, "trial") == named(cache)
    assert there(hub, "main") == {}
    assert (done.branch, done.sent) == ("trial", ())


def test_private_is_private_or_refused(hub: Hub, cache: Path) -> None:
    push_cache(cache, NAME, private=True)
    assert hub.repos[NAME].private
    push_cache(cache, NAME, private=True)
    push_cache(cache, "tester/open")
    assert not hub.repos["tester/open"].private
    add_step(cache, 5, first=21)
    with pytest.raises(MismatchError, match=r"the repository is public: tester/open"):
        push_cache(cache, "tester/open", private=True)
    assert "manifest/000002.json" in hub.content("tester/open")


def test_nobodys_data_set_is_replaced_by_a_mistyped_name(hub: Hub, cache: Path) -> None:
    push_cache(cache, NAME)
    repo = hub.repos[NAME]
    repo.commit("main", {"README.md": b"# Mine", "data/train.csv": b"a,b"}, "something else")
    with pytest.raises(UsageError, match=r"something else than a cache: .*data/train\.csv.*--repl"):
        push_cache(cache, NAME)
    assert hub.content(NAME) == {"README.md": b"# Mine", "data/train.csv": b"a,b"}
    push_cache(cache, NAME, replace=True)
    assert hub.content(NAME) == named(cache)


def test_another_cache_or_a_newer_state_is_not_replaced(
    hub: Hub, cache: Path, tmp_path: Path
) -> None:
    older = tmp_path / "older"
    shutil.copytree(cache, older)
    add_step(cache, 5, first=21)
    push_cache(cache, NAME)
    with pytest.raises(MismatchError, match=r"another cache.*manifest/000003\.json") as caught:
        push_cache(older, NAME)
    assert caught.value.exit_code == 4
    other = tmp_path / "other"
    for first in (0, 4, 8):
        add_step(other, 4, first=first)
    with pytest.raises(MismatchError, match="another cache"):
        push_cache(other, NAME)
    assert there(hub) == named(cache)
    push_cache(other, NAME, replace=True)
    assert there(hub) == named(other)


def test_a_compacted_cache_goes_on_though_it_dropped_what_was_pushed(
    hub: Hub, cache: Path, tmp_path: Path
) -> None:
    push_cache(cache, NAME)
    stranger = tmp_path / "stranger"
    for first in (0, 4, 8, 12):
        add_step(stranger, 4, first=first)
    with open_writer(cache) as writer:
        gone = [caption_id(text) for text in captions(3)]
        writer.publish(tombstones=gone, step={"step": "remove"})
    for path in (cache, stranger):
        compact_cache(path, keep=1)
        assert not (path / "manifest" / "000002.json").exists()
    with pytest.raises(MismatchError, match="another cache"):
        push_cache(stranger, NAME)
    done = push_cache(cache, NAME)
    assert there(hub) == named(cache)
    assert "manifest/000002.json" in done.removed


def test_a_push_of_somebody_else_meanwhile_is_told(hub: Hub, cache: Path) -> None:
    push_cache(cache, NAME)
    add_step(cache, 5, first=21)
    repo = hub.repos[NAME]

    def meanwhile() -> None:
        hub.on_put = lambda: None
        files = repo.commits[repo.branches["main"]]
        repo.commit("main", {**files, "theirs": b"x"}, "theirs")

    hub.on_put = meanwhile
    with pytest.raises(MismatchError, match=r"somebody else pushed meanwhile.*HTTP 412"):
        push_cache(cache, NAME)
    assert "theirs" in there(hub) and "manifest/000003.json" not in there(hub)
    push_cache(cache, NAME)
    assert there(hub) == {**named(cache), "theirs": b"x"}


def test_without_a_token_nobody_is_asked(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(AuthenticationError, match=r"no token.*hf auth login.*HF_TOKEN") as caught:
        push_cache(cache, NAME)
    assert caught.value.exit_code == 5
    assert hub.log == []


def test_a_token_that_is_refused_is_not_shown(
    hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_a_wrong_one")
    with pytest.raises(AuthenticationError, match=r"refused the token.*HTTP 401") as caught:
        push_cache(cache, NAME)
    assert "hf_a_wrong_one" not in "".join((caught.value.message, *capfd.readouterr()))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    with pytest.raises(AuthenticationError, match=r"may not write.*HTTP 403, You don't have"):
        push_cache(cache, "somebody/captions")
    assert hub.repos == {}


@pytest.mark.parametrize(
    ("rule", "kind", "match"),
    [
        (Rule("POST", "repos/create", "503"), RemoteError, "the hub failed.*HTTP 503"),
        (Rule("POST", "/commit/", "500"), RemoteError, "the hub failed.*HTTP 500"),
        (Rule("POST", "repos/create", "429"), RateLimitError, "slow down.*HTTP 429"),
        (Rule("POST", "/commit/", "413"), BadAnswerError, "did not take.*HTTP 413"),
        (Rule("PUT", "/lfs/", "400"), BadAnswerError, "did not take.*HTTP 400"),
        (Rule("POST", "repos/create", "hang"), UnreachableError, "no answer.*Timeout"),
        (Rule("POST", "/commit/", "cut"), UnreachableError, "no answer"),
    ],
    ids=lambda value: f"{value.path}-{value.act}" if isinstance(value, Rule) else "",
)
def test_what_the_hub_does_wrong_is_code_5_and_the_next_try_goes_on(
    hub: Hub,
    cache: Path,
    rule: Rule,
    kind: type[RemoteError],
    match: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    hub.rules.append(rule)
    with pytest.raises(RemoteError, match=match) as caught:
        push_cache(cache, NAME, timeout=0.5 if rule.act == "hang" else 60)
    assert type(caught.value) is kind
    assert caught.value.exit_code == 5
    # The way that needs no hub, and neither the token nor an address that lets others write.
    assert "load_dataset" in caught.value.message
    said = "".join((caught.value.message, *capfd.readouterr()))
    assert TOKEN not in said and "secret-of-the-store" not in said
    assert NAME not in hub.repos or there(hub) == {}  # nothing half-pushed is seen
    hub.rules.clear()
    push_cache(cache, NAME)
    assert there(hub) == named(cache)
    assert len(hub.puts) == len(set(hub.puts)) == 6


def test_a_hub_that_is_not_there(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UnreachableError, match="no answer from the hub"):
        push_cache(cache, NAME)


def test_a_failure_that_passes_is_waited_for(
    hub: Hub, cache: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    hub.rules.append(Rule("PUT", "/lfs/", "503", times=1, after=2))
    push_cache(cache, NAME)
    assert there(hub) == named(cache)
    assert hub.count("PUT", "/lfs/") == 7
    # The library would name the address, which lets others write.
    assert "secret-of-the-store" not in "".join(capfd.readouterr())


PUSH = """
import sys
from pipeline.push import push_cache
print(push_cache(sys.argv[1], sys.argv[2]).address)
"""


def test_a_killed_push_goes_on_and_sends_nothing_twice(hub: Hub, cache: Path) -> None:
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "0",
        "HF_HUB_DISABLE_XET": "1",
        "HF_HOME": str(cache.parent / "hf-home"),
    }
    words = [sys.executable, "-c", PUSH, str(cache), NAME]
    process = subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )

    def kill() -> None:
        if len(hub.puts) == 3:
            os.kill(process.pid, signal.SIGKILL)

    hub.on_put = kill
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    arrived = len(hub.puts)
    assert arrived >= 3
    assert there(hub) == {}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(hub.address)
    assert there(hub) == named(cache)
    assert len(hub.puts) == len(set(hub.puts)) == 6


READ = """
import sys
from datasets import load_dataset
from huggingface_hub import snapshot_download
from cache_store import open_cache
from cache_store.verify import verify_cache

name = sys.argv[1]
path = snapshot_download(name, repo_type="dataset")
assert verify_cache(path).whole
with open_cache(path) as cache:
    texts = cache.captions(range(len(cache)))
rows = load_dataset(name, split="train").with_format("torch")
assert rows["caption"][:] == texts
assert tuple(rows[0]["embedding"].shape) == (16,)
stream = load_dataset(name, split="train", streaming=True)
assert [row["caption"] for row in stream] == texts
refused = load_dataset(name, "rejects", split="train")
print(len(texts), len(refused))
"""


def test_what_was_pushed_opens_from_the_hub(hub: Hub, cache: Path, tmp_path: Path) -> None:
    push_cache(cache, NAME, private=True)
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "0",
        "HF_DATASETS_OFFLINE": "0",
        "HF_HOME": str(tmp_path / "hf-home"),
    }
    done = subprocess.run(
        [sys.executable, "-c", READ, NAME],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "21 18\n"), done.stderr[-2000:]


def test_offline_is_respected(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"offline.*HF_HUB_OFFLINE.*--dry-run"):
        push_cache(cache, NAME)
    assert hub.log == []


@pytest.mark.parametrize("name", ["a/b/c", "has space", "a--b", ""])
def test_names_that_cannot_be_are_refused(hub: Hub, cache: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"no repository can have that name"):
        push_cache(cache, name)
    assert hub.repos == {}
