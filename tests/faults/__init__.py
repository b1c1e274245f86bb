"""What the cache promises, with the disk against it; `python -m tests.faults` prints the table."""
