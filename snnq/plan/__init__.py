"""The per-layer plan: which number format each weight takes, and what that costs. ``plan.json``."""

from snnq.plan.plan import Plan, make_plan
from snnq.plan.records import DataInfo, ModelInfo, PlanLayer, SearchInfo

__all__ = ["DataInfo", "ModelInfo", "Plan", "PlanLayer", "SearchInfo", "make_plan"]
