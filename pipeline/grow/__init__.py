"""Captions where the user's own audio has none that is close.

wordings.py    every concept in several wordings, without a model
reference.py   what the concepts look like in an embedding space, and how far wordings lie apart
coverage.py    which clips are covered, far, or near no concept at all
concepts.py    which concepts to write about for the far ones
tally.py       what a cache's captions are about, read shard by shard
recordings.py  the user's recordings as embeddings, computed once (kept.py)
prepare.py     all of that for one cache and one folder of audio
record.py      what each round decided, in the cache's provenance
plans.py       the plan of each round, made again from its record
asking.py      one round's captions
rounds.py      the loop: measure, choose, ask, embed, measure again
report.py      what came of it: in words (summary.py), as a table (output.py), as a plot (plot.py)
"""
