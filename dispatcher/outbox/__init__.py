"""The durable local outbox: a journal for each emitting process, and the reader that a relay has of it."""

from dispatcher.outbox.listing import find_outboxes, journals_bytes
from dispatcher.outbox.memory import MemoryOutbox
from dispatcher.outbox.outbox import Outbox
from dispatcher.outbox.reader import Reader, abandon_inherited

__all__ = ["MemoryOutbox", "Outbox", "Reader", "abandon_inherited", "find_outboxes", "journals_bytes"]
