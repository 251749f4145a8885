"""Exceptions by which processors and backends say what becomes of an event. Their names are those of event-tracking."""


class EventEmissionExit(Exception):  # noqa: N818
    """Raised by a processor: the event goes no further."""


class NoTransformerImplemented(Exception):  # noqa: N818
    """Raised by a backend: it has no form for events of this name."""


class NoBackendEnabled(Exception):  # noqa: N818
    """Raised by a backend: it is switched off for this event."""
