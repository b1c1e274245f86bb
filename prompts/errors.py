"""The one error of this package, a ValueError, since it knows no command line and no exit code."""

from __future__ import annotations


class PromptError(ValueError):
    """Concepts, settings or a template that cannot work; the message is one line."""
