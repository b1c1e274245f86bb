"""The OpenAI Batch API: half the price, answers within a day.

lines     what a batch's files hold, line by line
rounds    which requests go into one batch, and how it is found again
remote    the calls to the server
book      which batches this cache has at the server; survives any crash
collect   from a batch that ended to the ledger
source    brings the results of a plan from batches
model     the backend that the command line calls openai-batch
"""
