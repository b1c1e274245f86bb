"""The dataset card: README.md, which makes the folder a dataset that `datasets` opens by its path.

A pure function of the manifest, so that the card never says anything else than the manifest does.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from cache_store.manifest import FileEntry, Manifest

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def render_card(manifest: Manifest) -> str:
    """Return the text of README.md."""
    files = manifest.data or manifest.captions
    parts = [_front_matter(files), _introduction(manifest), _statistics(manifest)]
    if manifest.tombstones:
        parts.append(
            f"{len(manifest.tombstones)} removed rows still lie in the files, and a plain "
            "`load_dataset` shows them; `lqtse-cache compact` rewrites the files without them.\n"
        )
    parts += [_usage(manifest), _provenance(manifest.provenance)]
    return "\n".join(parts)


def _front_matter(files: Sequence[FileEntry]) -> str:
    lines = ["---"]
    if files:
        rows = sum(entry.rows for entry in files)
        size = next((name for limit, name in _SIZES if rows < limit), "n>1M")
        lines += [
            "configs:",
            "- config_name: default",
            "  data_files:",
            "  - split: train",
            "    path:",
            *(f"    - {entry.path}" for entry in files),
            "size_categories:",
            f"- {size}",
        ]
    lines += ["tags:", "- audio", "- captions", "- clap", "- lqtse", "---", ""]
    return "\n".join(lines)


def _introduction(manifest: Manifest) -> str:
    what = (
        "Captions of sounds, with their text embeddings"
        if manifest.data
        else "Captions of sounds, not embedded yet"
    )
    return (
        f"# Caption cache\n\n{what}: a cache for training target sound extraction on unlabelled "
        "audio. Written by lqtse; do not edit, since the next command rewrites this page.\n"
    )


def _statistics(manifest: Manifest) -> str:
    facts: list[tuple[str, object]] = [
        ("manifest", manifest.number),
        ("captions", _rows(manifest.texts)),
        ("embedded", manifest.rows),
        ("removed", len(manifest.tombstones)),
        ("refused", _rows(manifest.rejects)),
    ]
    if manifest.space is not None:
        facts += [
            ("embedding space", f"{manifest.space.name} (`{manifest.space.fingerprint}`)"),
            ("embedding", f"{manifest.dtype}[{manifest.space.dim}], unit norm"),
        ]
    for index in manifest.indexes:
        state = "fresh" if manifest.is_fresh(index) else "older than the data"
        facts.append((f"index {index.kind}", state))
    rows = "\n".join(
        f"| {name} | {value:,} |" if isinstance(value, int) else f"| {name} | {value} |"
        for name, value in facts
    )
    return f"| | |\n|---|---|\n{rows}\n"


def _usage(manifest: Manifest) -> str:
    lines = ["```python", "from datasets import load_dataset", ""]
    lines.append('dataset = load_dataset("path/to/this/folder", split="train")')
    if manifest.data:
        lines += [
            "",
            "from cache_store import open_cache",
            "",
            'cache = open_cache("path/to/this/folder")',
            "hits = cache.search(queries, k=8)  # queries: [B, D]; ids, scores, rows: [B, 8]",
            "condition = cache.embeddings[hits.rows]  # [B, 8, D]",
        ]
    lines.append("```")
    return "## Use\n\n" + "\n".join(lines) + "\n"


def _provenance(steps: Sequence[Mapping[str, Any]]) -> str:
    if not steps:
        return ""
    lines = []
    for step in steps:
        rest = ", ".join(
            f"{key} {_plain(value)}" for key, value in step.items() if key not in ("step", "date")
        )
        lines.append(f"- {step.get('date', '')} **{step.get('step', 'step')}**: {rest}")
    return "## Provenance\n\n" + "\n".join(lines) + "\n"


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _rows(files: Sequence[FileEntry]) -> int:
    return sum(entry.rows for entry in files)
