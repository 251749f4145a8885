"""Doctor: checks a deployment before and during use. It changes nothing, sends no event and shows no credential."""

from dispatcher.doctor.checks.flower import ADDRESS as FLOWER_ADDRESS
from dispatcher.doctor.examination import AREAS, Area, examine
from dispatcher.doctor.finding import Check, Finding, Level

__all__ = ["AREAS", "FLOWER_ADDRESS", "Area", "Check", "Finding", "Level", "examine"]
