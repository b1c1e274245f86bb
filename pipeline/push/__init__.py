"""Push a cache to the Hugging Face hub: exactly what its newest manifest names, and the card.

Nothing else goes: no ledger, no file that was left aside, no temporary one, and the report only if
it is asked for. Every file is hashed against the manifest first. What the hub has already is not
sent again, and all that is new becomes visible in one commit, so that whoever reads the repository
sees the state before or after.
"""

from __future__ import annotations

from pipeline.push.plan import Item
from pipeline.push.run import Pushed, push_cache

__all__ = ["Item", "Pushed", "push_cache"]
