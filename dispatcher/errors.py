"""The error tree: one root, split by what a caller can do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.outcomes import INVALID, NOT_ENCODABLE, PROCESSOR, PROCESSOR_FAILED, TOO_LARGE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dispatcher.outcomes import RetryClass


class DispatcherError(Exception):
    """Root of everything that dispatcher raises."""


class InvalidEventError(DispatcherError, ValueError):
    """An event that cannot be taken as it is: mend the call.

    Raised by ``emit`` only where ``strict = true``; in production such an event becomes a dead letter with this
    error's reason.
    """

    #: What the ledger calls it: one of ``dispatcher.outcomes.NOT_TAKEN_REASONS``.
    reason = INVALID

    def __init__(self, message: str, *, event_name: str) -> None:
        super().__init__(message)
        self.event_name = event_name


class NotEncodableError(InvalidEventError):
    """A value in the event's data or context has no JSON form."""

    reason = NOT_ENCODABLE


class EventTooLargeError(InvalidEventError):
    """The encoded event is larger than ``outbox.max_event_bytes``."""

    reason = TOO_LARGE


class ProcessorError(InvalidEventError):
    """A processor raised something other than ``DropEvent``."""

    reason = PROCESSOR_FAILED


class OutboxError(DispatcherError):
    """The outbox could not take the event: make room, or mend the directory."""


class OutboxFullError(OutboxError):
    """The outbox holds as much as ``outbox.max_bytes`` lets it."""


class OutboxInUseError(OutboxError):
    """Another living process writes to, or relays from, this journal."""


class BlankStateError(OutboxError):
    """An outbox whose state file was never written to disk: a power cut came first. Its journals may hold events."""


class SettingsError(DispatcherError):
    """Settings that cannot be used. ``problems`` holds one line for each mistake, all of them at once."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class SetupError(DispatcherError):
    """No connection can be made, or no request written, as things are set on this machine: mend what the text names."""


class StoreUnavailableError(DispatcherError):
    """Redis did not answer, or answered that it cannot now. What was asked may or may not have happened."""


class UntrustedSocketError(StoreUnavailableError):
    """The socket of the embedded Redis is another user's, or could be: nothing was sent to it."""


class BatchDamagedError(DispatcherError):
    """What the batch store has of a batch is not what was put: its events become dead letters, ``damaged``."""


class DropEvent(Exception):  # noqa: N818 - it is a decision of a processor, not an error
    """Raised by a processor to filter an event out. ``reason`` is counted in the ledger.

    A reason that is not text, and a subclass that sets none, count as ``processor``.
    """

    reason: str = PROCESSOR

    def __init__(self, reason: str = PROCESSOR) -> None:
        super().__init__(reason)
        if issubclass(type(reason), str):
            self.reason = str.__str__(reason)


class UndeliverableError(DispatcherError):
    """An event that a destination can never take as it is: it becomes a dead letter of that destination.

    Args:
        reason: One word for the ledger, such as ``oversized``.
        message: What is wrong with it and how to mend that, for a person. It holds no personal data.
    """

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class TryLaterError(DispatcherError):
    """An event that a destination cannot make a request of now, though the event is right: it is tried again.

    Args:
        message: What is wrong and how to mend that, for a person. It holds no personal data.
        retry_class: Why, as of ``dispatcher.outcomes.RetryAfter``.
    """

    def __init__(self, message: str, *, retry_class: RetryClass = "transient") -> None:
        super().__init__(message)
        self.retry_class = retry_class
