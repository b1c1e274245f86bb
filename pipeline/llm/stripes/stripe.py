"""Which positions of a plan a worker has: every so many blocks of neighbours.

Neighbours stay together, since prompts of a block may begin alike and servers remember beginnings.
"""

from __future__ import annotations

from dataclasses import dataclass

BLOCK = 16


@dataclass(frozen=True)
class Stripe:
    """The positions of one worker of several, numbered from 0 in their order.

    Attributes:
        worker: Which one, from 0.
        workers: How many there are.
    """

    worker: int
    workers: int

    def position(self, number: int) -> int:
        """The position in the plan of the stripe's `number`-th."""
        block, place = divmod(number, BLOCK)
        return (block * self.workers + self.worker) * BLOCK + place

    def before(self, position: int) -> int:
        """How many of the stripe's positions come before a position of the plan."""
        block, place = divmod(position, BLOCK)
        rounds, owner = divmod(block, self.workers)
        if owner > self.worker:
            return (rounds + 1) * BLOCK
        return rounds * BLOCK + (place if owner == self.worker else 0)
