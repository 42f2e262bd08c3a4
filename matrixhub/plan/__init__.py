"""A sweep planned as one graph: pure functions on plain records, without torch."""

from matrixhub.plan.build import Plan, make_plan
from matrixhub.plan.cell import Cell
from matrixhub.plan.share import Stage

__all__ = ["Cell", "Plan", "Stage", "make_plan"]
