"""A model as a folder, as Hugging Face's libraries write it: is it one, can it chat, its name.

A model's name goes into the ids of requests and into the cache, so it tells one model from another
and says nothing about this machine: the folder's name, and a mark of what shapes an answer (the
configuration, the tokenizer with its chat template, the weights).
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

from cache_store.errors import DamagedError, UsageError
from pipeline.llm.weights import SUFFIX, ends_of

CONFIG = "config.json"

# What shapes an answer; a README or a licence does not.
_SUFFIXES = frozenset({".json", ".jinja", ".model", ".txt", ".safetensors", ".bin", SUFFIX})
_HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")


def find_folder(model: str) -> Path | None:
    """Return the folder of a model, or None where `model` is a name on a hub.

    Raises:
        UsageError: If it is a file, or a path that is not there.
        DamagedError: If the folder holds no model.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        if not (path / CONFIG).is_file():
            raise DamagedError("not a model's folder", where=path, expected=f"a {CONFIG} in it")
        return path
    if path.exists():
        line = f"--backend local --model {path.name}"
        raise UsageError(
            "not a model's folder",
            where=path,
            hint=f"For a GGUF file: {line}" if path.suffix == SUFFIX else None,
        )
    if not _HUB_NAME.fullmatch(model):
        raise UsageError(
            "cannot read the model",
            where=model,
            found="no such folder",
            hint="Give a folder with weights, or a model's name on Hugging Face: ORGANISATION/NAME",
        )
    return None


def folder_name(folder: Path) -> str:
    """Return a name with a mark of the content: it goes into the ids of requests.

    The mark hashes names, sizes and both ends of the files: hashing 140 GB takes minutes.
    """
    mark = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        if path.suffix in _SUFFIXES and path.is_file():
            mark.update(json.dumps([path.name, path.stat().st_size]).encode())
            for part in ends_of(path):
                mark.update(part)
    return f"{folder.resolve().name}@{mark.hexdigest()[:8]}"


def can_chat(folder: Path) -> bool:
    """Whether the tokenizer in a folder has a chat template; base models have none."""
    if any(folder.glob("chat_template.*")):
        return True
    try:
        settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(settings, dict) and bool(settings.get("chat_template"))
