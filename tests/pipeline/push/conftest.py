from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from tests.cache_store.builders import add_step
from tests.pipeline.push.hub_server import TOKEN, Hub, running_hub


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub on this machine, and a user who is logged in to it; files travel by LFS, not Xet."""
    with running_hub() as server:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-login"))
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        huggingface_hub.close_session()
        yield server
        huggingface_hub.close_session()


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """A cache of two shards; beside its files lies what is nobody's business."""
    path = tmp_path / "cache"
    add_step(path, 12)
    add_step(path, 9, first=12)
    for name in ("ledger.sqlite", "ledger.sqlite-wal", "report/index.html", "quarantine/x.parquet"):
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(f"secret of {name}")
    (path / "data" / ".tmp-1.parquet").write_text("half")
    (path / "data" / ("0" * 32 + ".parquet")).write_text("no manifest names it")
    return path
