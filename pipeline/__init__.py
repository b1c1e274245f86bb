"""The stages behind `lqtse-cache`: captions are generated or imported, embedded, indexed, joined.

Every stage is a plain function that can be called from Python; `pipeline.cli` is the thin command
line over them. This package may use `prompts` and `cache_store`, and nothing uses it.
"""
