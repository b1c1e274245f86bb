"""`tiny`: a small CLAP of our own, and the procedural sounds that it was trained on.

It ships inside the package for demos, tests and first steps without a network. README.md in this
folder is its model card: what it was trained on, what it can do, and what it cannot.
"""
