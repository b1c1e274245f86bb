"""Generation under fire: a real server that misbehaves, a process that is killed, and an audit.

`python -m tests.pipeline.stress` (or `make stress`) runs the full form and prints a table; a small
form of the same code is a test.
"""
