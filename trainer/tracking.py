"""The curves of a run at Weights & Biases, if the user names a project.

The `wandb` package is imported only then. It takes its key from `wandb login` or WANDB_API_KEY and
never from us, so that none is in a setting, a log or a file of the run. With WANDB_MODE=offline it
writes to the run folder and sends nothing; `wandb sync` sends that later. Only settings and numbers
are told: not the sounds, the console, the code or the repository.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from typing import Any

from cache_store.errors import MissingDependencyError, UsageError
from trainer.run import RunFolder, read_record

KEY_VARIABLE = "WANDB_API_KEY"


def check_tracking() -> None:
    """Make sure that curves can be sent, before any work is done.

    Raises:
        MissingDependencyError: `wandb` is not installed.
    """
    if importlib.util.find_spec("wandb") is None:
        raise MissingDependencyError("wandb is not installed", hint="pip install 'lqtse[wandb]'")


class Tracker:
    """One run at Weights & Biases; a resumed run goes on with the same curves.

    Args:
        project: Where it is listed.
        folder: The run, with its settings and its record.
        settings: What it was told, by name.

    Raises:
        UsageError: Weights & Biases does not take it: no key, say.
    """

    def __init__(self, project: str, folder: RunFolder, settings: Mapping[str, Any]) -> None:
        try:
            import wandb

            self._run = wandb.init(
                project=project,
                dir=str(folder.path),
                id=tracking_id(folder),
                name=folder.path.resolve().name,
                resume="allow",
                config=dict(settings),
                settings=wandb.Settings(
                    silent=True, console="off", disable_code=True, disable_git=True
                ),
            )
        except Exception as error:  # noqa: BLE001 - whatever a foreign client may say
            raise UsageError(
                "Weights & Biases does not take the run",
                where=f"project {project}",
                found=_without_key(error),
                hint="Log in by `wandb login`, set WANDB_MODE=offline, or leave out `wandb`",
            ) from None

    def tell(self, step: int, values: Mapping[str, float]) -> None:
        """Report some numbers, by their full names, after a step."""
        self._run.log(dict(values), step=step)

    def close(self, *, failed: bool = False) -> None:
        """Send what is left; `failed` marks the run as one that broke off."""
        self._run.finish(exit_code=int(failed))


def tracking_id(folder: RunFolder) -> str:
    """The same for a run and its resumes, another for any other run: 16 hexadecimal digits."""
    digest = hashlib.sha256(folder.config.read_bytes())
    digest.update(read_record(folder).created.encode())
    return digest.hexdigest()[:16]


def _without_key(error: Exception) -> str:
    """What went wrong in one line, without the key, should the message quote it."""
    text = " ".join(str(error).split()) or type(error).__name__
    key = os.environ.get(KEY_VARIABLE, "")
    return (text.replace(key, "***") if key else text)[:200]
