"""Doctor: looks at a deployment before and during use. It changes nothing, sends no event and shows no credential."""

from dispatcher.doctor.areas import AREAS, Area, examine
from dispatcher.doctor.finding import Check, Finding, Level
from dispatcher.doctor.flower import ADDRESS as FLOWER_ADDRESS

__all__ = ["AREAS", "FLOWER_ADDRESS", "Area", "Check", "Finding", "Level", "examine"]
