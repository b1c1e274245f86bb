"""Give a cache to other tools: `export_cache` writes one of the formats of `FORMATS`.

What is exported is what a search can return, in row order: removed captions are left out, and
neither rejects nor the ledger of paid answers go along. Rows are read and written in batches, so
memory does not grow with the cache. The output appears whole or not at all, and never in the place
of something that is there.
"""

from __future__ import annotations

from pipeline.export.run import FORMATS, Exported, Format, export_cache

__all__ = ["FORMATS", "Exported", "Format", "export_cache"]
