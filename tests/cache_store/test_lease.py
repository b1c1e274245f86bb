"""Leases against real processes: living, killed, and on a machine that we cannot see."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cache_store import lease as lease_module
from cache_store.errors import LeaseHeldError
from cache_store.lease import LEASE_NAME, SILENCE_SECONDS, Holder, Lease

HOLD = """
import sys, time
from pathlib import Path
from cache_store.lease import Lease
Lease(Path(sys.argv[1])).acquire()
print("held", flush=True)
time.sleep(60)
"""


def start_holder(folder: Path) -> subprocess.Popen[str]:
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "held\n"
    return child


def stop(child: subprocess.Popen[str]) -> None:
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert child.stdout is not None
    child.stdout.close()


def plant(folder: Path, holder: Holder, silence: float = 0.0) -> Path:
    path = folder / LEASE_NAME
    path.write_text(json.dumps(asdict(holder)))
    now = path.stat().st_mtime
    os.utime(path, (now - silence, now - silence))
    return path


def test_a_lease_is_given_back(tmp_path: Path) -> None:
    for _ in range(2):
        lease = Lease(tmp_path)
        assert lease.acquire() is None
        lease.check()
        lease.release()
    assert not (tmp_path / LEASE_NAME).exists()


def test_two_writers_in_one_process_are_two(tmp_path: Path) -> None:
    first = Lease(tmp_path)
    first.acquire()
    with pytest.raises(LeaseHeldError, match=f"process {os.getpid()} on"):
        Lease(tmp_path).acquire()
    first.release()


def test_a_living_holder_is_named_and_a_killed_one_is_taken_over(tmp_path: Path) -> None:
    child = start_holder(tmp_path)
    try:
        with pytest.raises(LeaseHeldError) as caught:
            Lease(tmp_path).acquire()
        assert f"process {child.pid} on {socket.gethostname()}" in caught.value.message
        assert caught.value.exit_code == 4
    finally:
        stop(child)
    lease = Lease(tmp_path)
    previous = lease.acquire()
    assert previous is not None
    assert previous.pid == child.pid
    lease.release()


def test_a_zombie_does_not_hold(tmp_path: Path) -> None:
    child = start_holder(tmp_path)
    child.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead, and not yet buried
    lease = Lease(tmp_path)
    assert lease.acquire() is not None
    lease.release()
    stop(child)


def test_a_process_that_got_the_same_number_does_not_hold(tmp_path: Path) -> None:
    me = Holder.of_this_process()
    plant(tmp_path, replace(me, started=me.started - 5))
    lease = Lease(tmp_path)
    assert lease.acquire() is not None
    lease.release()


@pytest.mark.parametrize(
    "silence", [SILENCE_SECONDS + 30, -SILENCE_SECONDS - 3600], ids=["silent", "clock set back"]
)
def test_far_away_only_the_heartbeat_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, silence: float
) -> None:
    monkeypatch.setattr(lease_module, "HEARTBEAT_SECONDS", 0.05)
    elsewhere = replace(Holder.of_this_process(), host="other-machine", pid=1)
    plant(tmp_path, elsewhere, silence=SILENCE_SECONDS - 30)
    with pytest.raises(LeaseHeldError, match=r"process 1 on other-machine.*If it is dead"):
        Lease(tmp_path).acquire()
    plant(tmp_path, elsewhere, silence=silence)
    lease = Lease(tmp_path)
    assert lease.acquire() == elsewhere
    lease.release()


@pytest.mark.parametrize("jump", [86_400, -86_400])
def test_a_clock_that_jumps_kills_nobody_whose_heart_beats(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, jump: float
) -> None:
    monkeypatch.setattr(lease_module, "HEARTBEAT_SECONDS", 0.5)
    elsewhere = replace(Holder.of_this_process(), host="other-machine", pid=1)
    path = plant(tmp_path, elsewhere, silence=jump)  # as it looks after the jump
    beat = threading.Timer(0.3, lambda: os.utime(path))
    beat.start()
    try:
        with pytest.raises(LeaseHeldError, match="process 1 on other-machine"):
            Lease(tmp_path).acquire()
    finally:
        beat.join()


def test_a_machine_of_the_same_name_is_another_machine(tmp_path: Path) -> None:
    # A cluster's nodes may all be called localhost, and have one number for their first table.
    me = Holder.of_this_process()
    other_boot = me.namespace.replace(me.namespace.split()[0], "0" * 8)
    plant(tmp_path, replace(me, namespace=other_boot, pid=2**22 + 1))
    with pytest.raises(LeaseHeldError, match="If it is dead"):
        Lease(tmp_path).acquire()


def test_the_heart_beats(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "HEARTBEAT_SECONDS", 0.02)
    lease = Lease(tmp_path)
    lease.acquire()
    path = tmp_path / LEASE_NAME
    os.utime(path, (1.0, 1.0))
    for _ in range(500):
        if path.stat().st_mtime > 1.0:
            break
        lease._stop.wait(0.01)
    assert path.stat().st_mtime > 1.0
    lease.release()


def test_a_lease_that_went_to_another_is_noticed_and_left_to_it(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    lease.acquire()
    path = plant(tmp_path, replace(Holder.of_this_process(), host="other-machine", pid=7))
    with pytest.raises(LeaseHeldError, match="now held by process 7 on other-machine"):
        lease.check()
    lease.release()
    assert path.exists()


def test_a_cut_lease_file_blocks_nobody(tmp_path: Path) -> None:
    (tmp_path / LEASE_NAME).write_text('{"host": "x"')
    lease = Lease(tmp_path)
    lease.acquire()
    lease.release()
