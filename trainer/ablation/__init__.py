"""Several strategies and seeds trained alike, scored on the same mixtures: one table, one plot."""

from trainer.ablation.plan import Ablation, Arm, Job, read_ablation
from trainer.ablation.summary import ArmSummary, summarise_arms

__all__ = ["Ablation", "Arm", "ArmSummary", "Job", "read_ablation", "summarise_arms"]
