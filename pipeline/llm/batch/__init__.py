"""The OpenAI Batch API: half the price, answers within a day.

model     the backend that the command line calls openai-batch
source    brings the results of a plan from batches
choose    which requests go into the next batch; room, how many and how large they may be
submit    how a batch gets to the server, and how one is found there
results   what the ledger has of a plan, in plan order
pending   what a run knows of its batches at the server
collect   from a batch that ended to the ledger; verdict, what follows for its requests
book      which batches a cache has at servers; survives any crash
beside    what they mean to a run that asks request by request
remote    the calls to the server; faults, what goes wrong with them
patience  how long a run waits for its batches, and for a server that is silent
rounds    how a batch is found again; lines, what its files hold
"""
