from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from cache_store.memory import available_memory

MB = 1 << 20


def group(folder: Path, names: tuple[str, str], limit: str, taken: int, prefix: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / names[0]).write_text(f"{limit}\n")
    (folder / names[1]).write_text(f"{taken}\n")
    stat = {"anon": 1, f"{prefix}active_file": 3 * MB, f"{prefix}inactive_file": 4 * MB}
    (folder / "memory.stat").write_text("".join(f"{k} {v}\n" for k, v in stat.items()))


def told(tmp_path: Path, *lines: str) -> int:
    (tmp_path / "proc" / "self").mkdir(parents=True, exist_ok=True)
    (tmp_path / "proc" / "self" / "cgroup").write_text("".join(f"{line}\n" for line in lines))
    return available_memory(tmp_path / "proc", tmp_path / "groups")


V2, V1 = ("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")


def test_version_2_counts_every_group_above(tmp_path: Path) -> None:
    root = tmp_path / "groups"
    group(root / "a" / "b", V2, "max", 60 * MB, "")
    assert told(tmp_path, "0::/a/b") == pytest.approx(
        psutil.virtual_memory().available, rel=0.2
    )  # no limit
    group(root / "a", V2, str(100 * MB), 60 * MB, "")
    assert told(tmp_path, "0::/a/b") == (100 - 60 + 7) * MB  # files can be let go of
    group(root / "a" / "b", V2, str(70 * MB), 60 * MB, "")
    assert told(tmp_path, "0::/a/b") == (70 - 60 + 7) * MB


def test_version_1_and_a_container_that_does_not_see_its_own_name(tmp_path: Path) -> None:
    root = tmp_path / "groups" / "memory"
    group(root, V1, str(50 * MB), 30 * MB, "total_")
    lines = "5:cpu,cpuacct:/x", "4:memory:/outside/name", "0::/"
    assert told(tmp_path, *lines) == (50 - 30 + 7) * MB
    group(root, V1, str((1 << 63) - 4096), 30 * MB, "total_")  # no limit
    assert told(tmp_path, *lines) > 50 * MB


def test_a_group_that_is_over_its_limit_leaves_nothing(tmp_path: Path) -> None:
    group(tmp_path / "groups", V2, str(10 * MB), 20 * MB, "")
    assert told(tmp_path, "0::/") == 0


def test_without_control_groups_it_is_what_the_machine_has(tmp_path: Path) -> None:
    free = psutil.virtual_memory().available
    assert available_memory(tmp_path, tmp_path) == pytest.approx(free, rel=0.2)
    assert 0 < available_memory() <= psutil.virtual_memory().total
