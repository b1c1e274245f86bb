"""The plan of each round of a growth, made again from what the round recorded: pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pipeline.grow.kept import key_of
from pipeline.grow.record import Round, begun_rounds
from pipeline.grow.wordings import ALONE
from pipeline.standing import plan_key

if TYPE_CHECKING:
    from prompts.bank import ConceptBank
    from prompts.plan import Plan


def round_plan(plan: Plan, record: Round) -> Plan:
    """The plan of a round: its concepts, one sound a caption, and a seed of its own.

    With the growth's own seed, a concept that is asked for in two rounds would be asked for in the
    same words, and the ledger would bring the same captions again.

    Args:
        plan: Its bank holds all concepts that may be asked for; its seed is the growth's.
        record: The round.
    """
    seed = int(key_of(record.growth, record.number)[:8], 16) >> 1
    return replace(plan, bank=_subset(plan.bank, record), axes=ALONE, seed=seed)


def plans_of_rounds(provenance: Iterable[Mapping[str, Any]], plan: Plan) -> list[Plan]:
    """The plans of those recorded rounds that these settings make, oldest first.

    A round of other settings (another model or wording, or concepts that are not in the bank) makes
    another plan than the one it recorded, and is left out. The seed does not count: a round's own
    follows from the growth's name.

    Args:
        provenance: Of the cache.
        plan: What `grow` was given, as for `round_plan`.
    """
    known = {concept.name for concept in plan.bank}
    found: dict[str, Plan] = {}
    for record in begun_rounds(provenance):
        if not known.issuperset(record.concepts):
            continue
        made = round_plan(plan, record)
        if plan_key(made) == record.plan:
            found[record.plan] = made
    return list(found.values())


def _subset(bank: ConceptBank, record: Round) -> ConceptBank:
    from prompts.bank import ConceptBank

    known = {concept.name: concept for concept in bank}
    return ConceptBank(tuple(known[name] for name in record.concepts), record.repeats)
