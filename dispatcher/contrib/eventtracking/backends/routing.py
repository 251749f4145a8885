"""Routing: processors in a row, then backends, which may be routers again."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from dispatcher.contrib.eventtracking.event_copy import copy_event, leaves_event_alone
from dispatcher.contrib.eventtracking.processors.exceptions import (
    EventEmissionExit,
    NoBackendEnabled,
    NoTransformerImplemented,
)
from dispatcher.secrecy.foreign_error import describe_traceback, type_name
from dispatcher.secrecy.safe_text import one_line

LOG = logging.getLogger(__name__)

Processor = Callable[[Any], Any]


class RoutingBackend:
    """Runs an event through processors, and hands it to backends.

    Args:
        backends: By name; they get events in the order of their names. Each has a ``send(event)``.
        processors: Called in their order with the event. One that returns None has changed it in place, or not at all.

    Raises:
        ValueError: A backend without a ``send``, or a processor that cannot be called.
    """

    leaves_event_alone = True

    def __init__(
        self, backends: Mapping[str, Any] | None = None, processors: Iterable[Processor] | None = None
    ) -> None:
        self.backends: OrderedDict[str, Any] = OrderedDict()
        self.processors: list[Processor] = []
        for name in sorted(backends or ()):
            self.register_backend(name, (backends or {})[name])
        for processor in processors or ():
            self.register_processor(processor)

    def register_backend(self, name: str, backend: Any) -> None:
        """Add a backend behind the others. Raises ValueError if it has no ``send``."""
        if not callable(getattr(backend, "send", None)):
            raise ValueError(
                f'Backend {type_name(backend)} does not have a callable "send" method. '
                f"Give {one_line(repr(name), 80)} an object with send(event), or in settings a dict with its ENGINE"
            )
        self.backends[name] = backend

    def register_processor(self, processor: Processor) -> None:
        """Add a processor behind the others. Raises ValueError if it cannot be called."""
        if not callable(processor):
            raise ValueError(
                f"Processor {type_name(processor)} is not callable. Give a function of an event, or in settings a dict "
                "with its ENGINE"
            )
        self.processors.append(processor)

    def send(self, event: Any) -> None:
        """Process an event and hand it to each backend. The caller's event stays as it is.

        What processors and backends raise is logged; raises nothing. Blocks as long as they do.
        """
        try:
            processed = self.process_copy(event)
        except EventEmissionExit:
            return
        self.send_to_backends(processed)

    def process_copy(self, event: Any) -> Any:
        """What ``process_event`` returns, of an event that stays as it is: it is copied before anything may change it.

        Raises:
            EventEmissionExit: A processor dropped it.
        """
        own = False
        for processor in self.processors:
            if not own and not leaves_event_alone(processor):
                event, own = copy_event(event), True
            event = _process(processor, event)
        if not own and not all(map(leaves_event_alone, self.backends.values())):
            event = copy_event(event)
        return event

    def process_event(self, event: Any) -> Any:
        """Run the processors on the event itself, and return what the last one made of it.

        What a processor raises is logged, and the next one goes on with the event as it is.

        Raises:
            EventEmissionExit: A processor dropped it.
        """
        for processor in self.processors:
            event = _process(processor, event)
        return event

    def send_to_backends(self, event: Any) -> None:
        """Hand an event to each backend. What one raises is logged, and the others get it all the same."""
        self.send_to(event)

    def send_to(self, event: Any, names: Collection[str] | None = None) -> dict[str, Exception]:
        """What ``send_to_backends`` does, for some backends.

        Args:
            event: After the processors.
            names: Those that get it; None for all.

        Returns:
            What the ones that failed raised, by name. It is logged already. A router among them logs its own, and
            never fails.
        """
        failed: dict[str, Exception] = {}
        for name, backend in self.backends.items():
            if names is not None and name not in names:
                continue
            try:
                backend.send(event)
            except (NoTransformerImplemented, NoBackendEnabled) as skipped:
                LOG.info("%s does not take %s: %s", one_line(name, 80), _name_of(event), type_name(skipped))
            except Exception as error:
                failed[name] = error
                LOG.error(
                    "the backend %s failed to take %s: %s",
                    one_line(name, 80),
                    _name_of(event),
                    describe_traceback(error),
                )
        return failed


def _process(processor: Processor, event: Any) -> Any:
    try:
        processed = processor(event)
    except EventEmissionExit:
        raise
    except Exception as error:
        LOG.error(
            "the processor %s failed on %s, which goes on without it: %s",
            type_name(processor),
            _name_of(event),
            describe_traceback(error),
        )
        return event
    return event if processed is None else processed


def _name_of(event: Any) -> str:
    name = event.get("name") if isinstance(event, Mapping) else None
    return f"the event {one_line(name, 80)!r}" if isinstance(name, str) else "an event"
