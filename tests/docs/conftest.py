"""The trained run of the trainer's tests, for the snippets that use one."""

from __future__ import annotations

from tests.trainer.conftest import run, world

__all__ = ["run", "world"]
