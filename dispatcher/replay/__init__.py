"""Replay: events that a tracking log holds are sent to a destination again, with their own ids and times."""

from dispatcher.replay.choice import Choice
from dispatcher.replay.lines import UnreadableLineError, read_line
from dispatcher.replay.reading import Complaint
from dispatcher.replay.replay import Replay, ReplayError, Tally
from dispatcher.replay.source import Source

__all__ = ["Choice", "Complaint", "Replay", "ReplayError", "Source", "Tally", "UnreadableLineError", "read_line"]
