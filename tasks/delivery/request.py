"""Announcement: what those who watch the workers, such as Flower, are told of a delivery that is to be tried again.

Everything here is seen on pages, so it may hold nothing of an event's contents.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from celery.exceptions import Retry
from celery.worker.request import Request

# Characters of an error that a table can show.
_MAX_ERROR: Final = 300
# Flower puts errors into its table as HTML, and words of an HTTP answer may be in them.
_NO_HTML: Final = str.maketrans({"<": "(", ">": ")", "&": "+"})


class AnnouncedRequest(Request):
    """A task as the worker's main process sees it. ``Delivery.Request`` names it.

    Celery's own would announce a retry without the time that it is due, and its error as ``None`` with a traceback.
    These are fields of Celery's own events, sent in their order and only while somebody watches.
    """

    def on_retry(self, exc_info: Any) -> None:
        """Acknowledge the message, and announce why and until when its batch is parked."""
        if self.task.acks_late:
            self.acknowledge()
        found = exc_info.exception
        # The second is billiard's wrapper, around what a child process has not pickled.
        self.send_event("task-retried", **retried(found if isinstance(found, Retry) else found.exc))

    def send_event(self, type: str, **fields: Any) -> None:
        """Send one event to those who watch. Does nothing while nobody does."""
        if fields.get("exception"):
            fields["exception"] = plain(str(fields["exception"]))
        elif type == "task-succeeded":
            # Else the error of an earlier try would be shown beside the success. The result comes as its repr.
            fields.update(exception=None, result=str(fields.get("result") or "").strip("'"))
        super().send_event(type, **fields)


def retried(retry: Retry) -> dict[str, Any]:
    """The fields that tell of a retry: its error, and in ``eta`` when it is due."""
    due = retry.when
    return {
        "exception": str(retry.message or "") or "parked",
        # In UTC, as Flower's other times are.
        "eta": due.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if isinstance(due, datetime) else None,
    }


def plain(error: str) -> str:
    """An error as one short line without HTML."""
    line = " ".join(error.translate(_NO_HTML).split())
    return line if len(line) <= _MAX_ERROR else line[: _MAX_ERROR - 1] + "…"
