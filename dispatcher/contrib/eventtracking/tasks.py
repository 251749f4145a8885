"""Tasks: what a Celery worker of the site runs for ``AsyncRoutingBackend``.

The task has event-tracking's name and its arguments, so that each takes what the other has put into the queue.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Final

from celery import Task, shared_task

from dispatcher.contrib.eventtracking.event_copy import copy_event
from dispatcher.contrib.eventtracking.tracker import get_tracker
from dispatcher.secrecy.safe_text import one_line

logger = logging.getLogger(__name__)

#: How often an event is tried again.
MAX_RETRIES: Final = 3
#: Seconds before it is.
COUNTDOWN: Final = 30


# One try more, in case that a connection was cut while it was idle, and no pauses, in which a request would wait.
_PUBLISHING: Final = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}


class _SendEvent(Task):
    """A task that is published without the pauses of Celery's own tries, which take 0.6 seconds."""

    def delay(self, *args: Any, **kwargs: Any) -> Any:
        return self.apply_async(args, kwargs, retry=True, retry_policy=_PUBLISHING)


@shared_task(bind=True, base=_SendEvent, name="eventtracking.tasks.send_event")  # type: ignore[untyped-decorator]
def send_event(
    self: Any, backend_name: str, processed_event: dict[str, Any], only: Sequence[str] | None = None
) -> None:
    """Hand an event to the backends of a router. Those that fail get it again, three times at most, and no other.

    Args:
        self: The task.
        backend_name: The router's name at the root of the default tracker.
        processed_event: After the router's processors.
        only: Names of the backends that have not taken it yet; None for all.

    Raises:
        KeyError: The settings have no such router any more.
    """
    try:
        router = get_tracker().get_backend(backend_name)
    except KeyError:
        logger.error(
            "EVENT_TRACKING_BACKENDS has no %s, for which an event waited: keep it until the queue is empty",
            one_line(repr(backend_name), 80),
        )
        raise
    event = copy_event(processed_event)
    if not hasattr(router, "send_to"):
        router.send_to_backends(event)
        return
    failed = router.send_to(event, only)
    if failed:
        names = list(failed)
        raise self.retry(
            args=(backend_name, processed_event, names),
            kwargs={},
            exc=failed[names[0]],
            countdown=COUNTDOWN,
            max_retries=MAX_RETRIES,
        )
