"""Celery: the context of a request in what its tasks emit.

dispatcher.contrib.celery.install(app)
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from celery import Celery, signals

from dispatcher.contrib.request_context import LAYER
from dispatcher.emit.context import EMPTY, BoundContext, current, encode_bindable, replace_context
from dispatcher.secrecy.foreign_error import type_name
from dispatcher.wire import encode_json

if TYPE_CHECKING:
    from celery import Task

logger = logging.getLogger(__name__)

__all__ = ["FIELDS", "HEADER", "install"]

#: The header of a message. Celery keeps it for retries and for the tasks of a canvas.
HEADER: Final = "dispatcher_context"
#: What of a context goes along by default: what the tracking log and Segment look for.
FIELDS: Final = (
    *("user_id", "username", "session", "anonymous_id", "client_id", "ip", "agent", "host", "path", "referer"),
    *("page", "accept_language", "course_id", "org_id", "request_id"),
)
#: Bytes of JSON that a header may have; of a larger context the longest fields stay behind.
MAX_BYTES: Final = 4_096

# Where the context before a task is kept meanwhile: on its request, so that a task may run inside another one.
_BEFORE: Final = "_dispatcher_before"


def install(app: Celery, *, fields: Iterable[str] = FIELDS) -> None:
    """Have tasks emit with the context of who sent them. Call it where the app is made: web processes and workers.

    A task that was sent with nothing bound, or by a process without this, has no context. In eager mode a task has
    that of its caller. Messages of task protocol 1 have no headers, and go without. Does not block.

    Args:
        app: Its tasks get the context. What other apps in this process send has the header too, which harms nobody.
        fields: The names of what goes along. Messages lie in a broker, so nothing else does.

    Raises:
        TypeError: ``app`` is not an app of Celery's, or ``fields`` is one text.
    """
    if not isinstance(app, Celery):
        raise TypeError(f"app must be the Celery app, not {type_name(app)}: write install(app) behind app = Celery(…)")
    if isinstance(fields, str):
        raise TypeError(f'fields must be a list of names, not a text: write ["{fields[:80]}"]')
    carrier = _Carrier(app, frozenset(fields))
    for signal, receiver in (
        (signals.before_task_publish, carrier.before_publish),
        (signals.task_prerun, carrier.before_run),
        (signals.task_postrun, carrier.after_run),
    ):
        # Once for each app: what is installed later takes the place of what is there.
        uid = f"dispatcher.contrib.celery {id(app)}"
        signal.disconnect(dispatch_uid=uid)
        signal.connect(receiver, weak=False, dispatch_uid=uid)


class _Carrier:
    def __init__(self, app: Celery, fields: frozenset[str]) -> None:
        self._app = app
        self._fields = fields
        # The names of fields that stayed behind, of which each is logged once; all of them are among the listed.
        self._logged: set[str] = set()

    def before_publish(self, sender: object = None, headers: Any = None, **_: Any) -> None:
        bound = current()
        # A message of protocol 2 has its id among the headers.
        if bound is EMPTY or not isinstance(headers, dict) or "id" not in headers:
            return
        header = self._make(bound.merged)
        if header:
            headers[HEADER] = header

    def _make(self, context: Mapping[str, Any]) -> dict[str, Any]:
        """What of a context goes along, as JSON has it."""
        encoded: dict[str, bytes] = {}
        for name, value in context.items():
            if name in self._fields:
                json = encode_bindable(value)
                if json is None:
                    self._log_once(name, f"a value of type {type_name(value)} has no JSON form")
                else:
                    encoded[name] = json
        for name in _find_too_long(encoded):
            self._log_once(name, f"all that is listed has more than {MAX_BYTES:,} bytes, and this is the longest of it")
            del encoded[name]
        return {name: msgspec.json.decode(value) for name, value in encoded.items()}

    def _log_once(self, name: str, why: str) -> None:
        if name not in self._logged:
            self._logged.add(name)
            logger.warning("tasks go without the field %r of their sender's context: %s", name, why)

    def before_run(self, task: Task | None = None, **_: Any) -> None:
        if task is None or not self._is_ours(task):
            return
        request: Any = task.request
        sent = request.get(HEADER)
        if isinstance(sent, Mapping):
            bound = BoundContext(((LAYER, dict(sent)),))
        elif request.is_eager:
            bound = current()
        else:
            bound = EMPTY
        setattr(request, _BEFORE, replace_context(bound))

    def after_run(self, task: Task | None = None, **_: Any) -> None:
        before = None if task is None else getattr(task.request, _BEFORE, None)
        if isinstance(before, BoundContext) and task is not None and self._is_ours(task):
            delattr(task.request, _BEFORE)
            replace_context(before)

    def _is_ours(self, task: Task) -> bool:
        # shared_task makes one task for all apps, which answers with the current one.
        return task.app is self._app or task.app.tasks is self._app.tasks


def _find_too_long(encoded: Mapping[str, bytes]) -> list[str]:
    """The names of the longest fields, as many as have to stay so that the others fit. Ids are short, so they go."""
    sizes = {name: len(encode_json(name)) + len(value) + 2 for name, value in encoded.items()}
    total = 2 + sum(sizes.values())
    found = []
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if total <= MAX_BYTES:
            break
        total -= sizes[name]
        found.append(name)
    return found
