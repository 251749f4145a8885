"""PerContext: what follows from an event's context alone, made once for all the events of one request of the app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.event import Event

# Contexts that are remembered. A batch of a threaded app has those of as many requests at a time as it has threads.
_MAX_CONTEXTS: Final = 64

ValueT = TypeVar("ValueT")


class PerContext(Generic[ValueT]):
    """Remembers a value for each of the latest contexts, which are told apart as objects. Safe in threads.

    It pays in destinations with ``shares_contexts``, and takes a context for one that stays as it is.

    Args:
        make: Makes the value of an event. Pure, and looks only at the context.
    """

    __slots__ = ("_known", "_make")

    def __init__(self, make: Callable[[Event], ValueT]) -> None:
        self._make = make
        # A context is kept with its value, so that no other one can get its id.
        self._known: dict[int, tuple[dict[str, Any], ValueT]] = {}

    def of(self, event: Event) -> ValueT:
        """The value of an event's context. Raises what ``make`` raises."""
        context = event.context
        known = self._known.get(id(context))
        if known is not None and known[0] is context:
            return known[1]
        value = self._make(event)
        if len(self._known) >= _MAX_CONTEXTS:
            self._known.clear()
        self._known[id(context)] = (context, value)
        return value
