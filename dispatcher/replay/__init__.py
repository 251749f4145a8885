"""Replay: events that a tracking log holds are sent to a destination again, with their own ids and times."""

from dispatcher.edx_log.parse import UnreadableLineError, read_line
from dispatcher.edx_log.reader import LineError
from dispatcher.edx_log.source import Source
from dispatcher.replay.filter import Filter
from dispatcher.replay.replay import Replay, ReplayError, ReplayTotals

__all__ = ["Filter", "LineError", "Replay", "ReplayError", "ReplayTotals", "Source", "UnreadableLineError", "read_line"]
