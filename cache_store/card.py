"""The dataset card: README.md, which makes the folder a dataset that `datasets` opens by its path.

A pure function of the manifest, so that the card never says anything else than the manifest does.
"""

from __future__ import annotations

from collections.abc import Sequence

from cache_store import card_steps
from cache_store.manifest import FileEntry, Manifest

_LIMITS = ("1K", "10K", "100K", "1M", "10M", "100M", "1B", "10B", "100B", "1T")


def render_card(manifest: Manifest) -> str:
    """Return the text of README.md."""
    files = manifest.data or manifest.captions
    steps = manifest.provenance
    parts = [_front_matter(files, manifest), _introduction(manifest), _statistics(manifest)]
    if manifest.tombstones:
        parts.append(
            f"{len(manifest.tombstones)} removed rows still lie in the files, and a plain "
            "`load_dataset` shows them; `lqtse-cache compact` rewrites the files without them.\n"
        )
    parts += [_usage(manifest), card_steps.provenance(steps), card_steps.licence(steps)]
    return "\n".join(part for part in parts if part)


def _front_matter(files: Sequence[FileEntry], manifest: Manifest) -> str:
    """The YAML block; its keys and their values are those of the Hugging Face hub's metadata."""
    steps = manifest.provenance
    lines = ["---"]
    if files:
        lines += [
            "configs:",
            "- config_name: default",
            "  data_files:",
            "  - split: train",
            "    path:",
            *(f"    - {entry.path}" for entry in files),
        ]
    if licence := card_steps.licence_of(steps):
        lines += [f"license: {licence}"]
    if card_steps.is_english(steps):
        lines += ["language:", "- en"]
    if card_steps.is_generated(steps):
        lines += ["annotations_creators:", "- machine-generated"]
    if files:
        lines += ["size_categories:", f"- {_size(_rows(files))}"]
    if manifest.data:
        lines += ["task_categories:", "- feature-extraction"]
    lines += ["tags:", "- audio", "- captions", "- clap", "- lqtse", "---", ""]
    return "\n".join(lines)


def _size(rows: int) -> str:
    """The hub's name for a size."""
    below = ""
    for power, limit in enumerate(_LIMITS, 3):
        if rows < 10**power:
            return f"{below}<n<{limit}" if below else f"n<{limit}"
        below = limit
    return f"n>{below}"


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


def _rows(files: Sequence[FileEntry]) -> int:
    return sum(entry.rows for entry in files)
