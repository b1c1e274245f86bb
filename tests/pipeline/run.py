"""`python -m tests.pipeline.run ARGS`: the command line in a process of its own."""

from __future__ import annotations

from pipeline.cli import main

if __name__ == "__main__":
    main()
