"""What a language model is asked for, and how its answer becomes captions.

Pure: no network, no clock, no global state; the only files read are this package's own.
"""

from __future__ import annotations

from prompts.errors import PromptError

__all__ = ["PromptError"]
