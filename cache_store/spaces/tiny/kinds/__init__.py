"""The procedural sounds, by group: one function a kind."""
