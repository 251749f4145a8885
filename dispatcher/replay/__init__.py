"""Replay: events that a tracking log holds are sent to a destination again, with their own ids and times."""

from dispatcher.edx_log.parse import UnreadableLineError, read_line
from dispatcher.edx_log.reader import Complaint
from dispatcher.edx_log.source import Source
from dispatcher.replay.filter import Choice
from dispatcher.replay.replay import Replay, ReplayError, Tally

__all__ = ["Choice", "Complaint", "Replay", "ReplayError", "Source", "Tally", "UnreadableLineError", "read_line"]
