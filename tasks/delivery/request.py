"""Request: what Flower and others who watch the workers are told about a delivery that will be tried again.

Everything here is shown on pages, so none of it may come from an event's contents.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from celery.exceptions import Retry
from celery.worker.request import Request

from dispatcher.secrecy.safe_text import foreign_text

# Characters of an error that fit into a table.
_MAX_ERROR: Final = 300
# Flower puts errors into its table as HTML, and they may quote an HTTP answer.
_NO_HTML: Final = str.maketrans({"<": "(", ">": ")", "&": "+"})


class DeliveryRequest(Request):
    """A task as the worker's main process sees it. ``Delivery.Request`` names this class.

    Celery's own would announce a retry without the time that it is due, and its error as ``None`` with a traceback.
    These fields are those of Celery's own events, sent in their order and only while somebody watches.
    """

    def on_retry(self, exc_info: Any) -> None:
        """Acknowledge the message, and announce why and until when its batch is parked."""
        if self.task.acks_late:
            self.acknowledge()
        error = exc_info.exception
        # From a child process comes billiard's wrapper, around what was not pickled.
        self.send_event("task-retried", **retry_fields(error if isinstance(error, Retry) else error.exc))

    def send_event(self, type: str, **fields: Any) -> None:
        """Send one event to those who watch. Does nothing while nobody watches."""
        if fields.get("exception"):
            fields["exception"] = safe_text(str(fields["exception"]))
        elif type == "task-succeeded":
            # Else the error of an earlier try would be shown beside the success. The result comes as its repr.
            fields.update(exception=None, result=str(fields.get("result") or "").strip("'"))
        super().send_event(type, **fields)


def retry_fields(retry: Retry) -> dict[str, Any]:
    """The fields of the event that announces a retry: its error, and in ``eta`` when it is due."""
    due = retry.when
    return {
        "exception": str(retry.message or "") or "parked",
        # In UTC, as Flower's other times are.
        "eta": due.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ") if isinstance(due, datetime) else None,
    }


def safe_text(error: str) -> str:
    """An error as one line of at most 300 characters, without HTML, credentials and addresses."""
    return foreign_text(error, _MAX_ERROR).translate(_NO_HTML)
