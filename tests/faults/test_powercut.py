"""The model of the disk itself: what it lets a power cut take, and what not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.powercut import Disk, Event, Machine, read_trace, write_disk


def disks_after(root: Path, *events: tuple[str, str, str, int, bytes]) -> list[Disk]:
    machine = Machine(root)
    for what, first, second, handle, data in events:
        paths = [str(root / path) if path else "" for path in (first, second)]
        machine.apply(Event(what, paths[0], paths[1], handle, 0, data))
    return list(machine.disks())


def test_what_was_there_before_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    assert disks_after(tmp_path) == [{"a": b"old"}] * 3


def test_a_new_name_without_a_synced_folder_may_be_gone_or_empty(tmp_path: Path) -> None:
    disks = disks_after(tmp_path, ("create", "a", "", 1, b""), ("write", "", "", 1, b"new!"))
    assert {} in disks
    assert {"a": b""} in disks
    assert {"a": b"ne"} in disks
    assert {"a": b"new!"} in disks


def test_a_rename_before_the_sync_may_leave_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    events = (
        ("create", "tmp", "", 1, b""),
        ("write", "", "", 1, b"new!"),
        ("rename", "tmp", "a", 0, b""),
    )
    assert {"a": b""} in disks_after(tmp_path, *events)
    synced = (*events[:2], ("sync", "", "", 1, b""), events[2])
    found = disks_after(tmp_path, *synced)
    assert {"a": b"old"} in found
    assert {"a": b"new!"} in found
    assert all(disk["a"] in (b"old", b"new!") for disk in found)


def test_what_was_synced_stays_when_more_is_appended(tmp_path: Path) -> None:
    events = (
        ("create", "a", "", 1, b""),
        ("write", "", "", 1, b"old!"),
        ("sync", "", "", 1, b""),
        ("open", ".", "", 2, b""),
        ("sync", "", "", 2, b""),
    )
    machine = Machine(tmp_path)
    for what, first, second, handle, data in events:
        path = str(tmp_path / first) if first else ""
        machine.apply(Event(what, path, second, handle, 0, data))
    machine.apply(Event("write", "", "", 1, 6, b"new!"))
    found = [disk["a"] for disk in machine.disks()]
    assert found == [b"old!\0\0new!", b"old!", b"old!\0\0n"]


def test_a_synced_folder_keeps_its_names_but_not_its_own(tmp_path: Path) -> None:
    events = (
        ("mkdir", "sub", "", 0, b""),
        ("create", "sub/a", "", 1, b""),
        ("write", "", "", 1, b"new!"),
        ("sync", "", "", 1, b""),
        ("open", "sub", "", 2, b""),
        ("sync", "", "", 2, b""),
    )
    found = disks_after(tmp_path, *events)
    assert {} in found
    assert {"sub": None, "sub/a": b"new!"} in found


def test_a_link_is_a_second_name(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    found = disks_after(tmp_path, ("link", "a", "b", 0, b""), ("unlink", "a", "", 0, b""))
    assert {"a": b"old"} in found
    assert {"b": b"old"} in found


def test_a_trace_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes(b"create\t/a\tnew\t1\t0\t0\nwrite\t\t\t1\t7\t3\nx\ny" + b"sync\t\t\t1\t0\t0\n")
    assert read_trace(path) == [
        Event("create", "/a", "new", 1, 0, b""),
        Event("write", "", "", 1, 7, b"x\ny"),
        Event("sync", "", "", 1, 0, b""),
    ]


@pytest.mark.parametrize("disk", [{}, {"sub": None, "sub/a": b"x", "b": b""}])
def test_a_disk_is_written_and_loaded_again(tmp_path: Path, disk: Disk) -> None:
    write_disk(disk, tmp_path)
    assert next(Machine(tmp_path).disks()) == disk
