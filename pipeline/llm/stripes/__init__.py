"""Several processes that ask: each works on its own stripe of the plan, one keeps the ledger.

    stripe   which positions are whose
    orders   what a worker is told at its start
    worker   a `Dispatcher` over one stripe; judges what comes; writes by way of the parent
    remote   the worker's ends of the ledger
    staff    the processes: started, replaced when they die, ended
    writes   the transactions of the parent, for all of them
    source   the parent: puts the results in plan order
    model    what a cache remembers of it

A request costs the parent a few rows in a transaction and a place in a dict: the plan, HTTP, the
reading and the judging of answers are all the workers'. What is promised is what one process
promises: the same captions whatever the number of workers, an answer in the ledger before it is
used, nothing asked twice.
"""
