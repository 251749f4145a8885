"""Packing: encoded events become items, and items become requests within the vendor's limits."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeAlias, TypeVar

import msgspec

from dispatcher.destinations.base import Destination
from dispatcher.errors import DropEvent, TryLaterError, UndeliverableError
from dispatcher.event import encode
from dispatcher.outcomes import INVALID, OVERSIZED, TRANSFORM, UNDECODABLE, Dead, Filtered, RetryAfter
from dispatcher.tasks.destinations.http.mistakes import report_mistake
from dispatcher.tasks.destinations.http.reader import EventReader

if TYPE_CHECKING:
    from dispatcher.event import Event
    from dispatcher.rules.rules import Rules
    from dispatcher.tasks.destinations.http.base import HttpDestination, Limits

# Events in a row that could not become items now, after which the rest of the batch waits: what one asks is down.
_POSTPONED: Final = 3

ItemT = TypeVar("ItemT")
#: What becomes of an event that is not to be sent now.
Unsent: TypeAlias = Dead | Filtered | RetryAfter


class Entry(msgspec.Struct, Generic[ItemT], frozen=True, gc=False):
    """An event that is to be sent.

    Args:
        position: Its index in the batch.
        event_id: The event's id.
        item: What it becomes in a request.
        size: How many bytes of a request's body the item takes.
        group: What the items of its request have in common.
    """

    position: int
    event_id: str
    item: ItemT
    size: int
    group: Hashable = None


@dataclass(frozen=True, slots=True)
class Packed(Generic[ItemT]):
    """A batch, packed.

    Args:
        requests: The entries of each request, in order within each group; sorted by their first entries.
        outcomes: What became of each event that is not to be sent, by its position.
    """

    requests: list[list[Entry[ItemT]]]
    outcomes: dict[int, Unsent]


class Maker(Protocol[ItemT]):
    """What makes items of events: every HTTP destination, and others that are to treat a bad event as these do."""

    @property
    def name(self) -> str: ...

    @property
    def label(self) -> str: ...

    @property
    def rules(self) -> Rules | None: ...

    @property
    def limits(self) -> Limits: ...

    def item(self, event: Event) -> ItemT:
        """As ``HttpDestination.item``."""
        ...

    def item_bytes(self, item: ItemT) -> int:
        """As ``HttpDestination.item_bytes``."""
        ...

    def group(self, item: ItemT) -> Hashable:
        """As ``HttpDestination.group``."""
        ...


def pack(destination: HttpDestination[Any, ItemT], payloads: Sequence[bytes]) -> Packed[ItemT]:
    """Make the requests of some events, after the operator's rules and within the vendor's limits. Sends nothing.

    Raises nothing: an event that the destination's code trips over is dead, and holds up no other.
    """
    outcomes: dict[int, Unsent] = {}
    entries: list[Entry[ItemT]] = []
    postponed = 0
    reader = EventReader(shares_contexts=destination.shares_contexts)
    for position, payload in enumerate(payloads):
        entry = outcomes[position - 1] if postponed >= _POSTPONED else to_entry(destination, reader, position, payload)
        postponed = postponed + 1 if isinstance(entry, RetryAfter) else 0
        if isinstance(entry, Entry):
            entries.append(entry)
        else:
            outcomes[position] = entry
    requests: list[list[Entry[ItemT]]] = []
    for request in _fill(destination, entries):
        requests += _fit(destination, request, outcomes)
    return Packed(sorted(requests, key=lambda request: request[0].position), outcomes)


def to_entry(destination: Maker[ItemT], reader: EventReader, position: int, payload: bytes) -> Entry[ItemT] | Unsent:
    """The item of a payload after the operator's rules, or what becomes of its event. Raises nothing.

    Args:
        destination: Whose item it is.
        reader: Of the delivery.
        position: The payload's index in the batch.
        payload: The encoded event.
    """
    try:
        event = reader.read(payload)
    except (ValueError, OverflowError, RecursionError) as error:
        problem = f"a payload of {len(payload)} bytes is not an event: {type(error).__name__}"
        return Dead(UNDECODABLE, problem, asked=False)
    try:
        item = destination.item(event if destination.rules is None else destination.rules.apply(event))
        entry = Entry(position, event.id, item, destination.item_bytes(item), destination.group(item))
    except (UndeliverableError, DropEvent, TryLaterError) as decision:
        return _unsent(decision)
    except RecursionError:
        return too_deep(f"event {event.id}")
    except Exception as error:  # else one event that a vendor's module trips over would hold up its whole batch
        return Dead(TRANSFORM, f"event {event.id}: {report_mistake(destination, error)}", asked=False)
    limit = destination.limits.event_bytes
    return entry if limit is None or entry.size <= limit else _oversized(destination, entry, entry.size, limit)


def apply_rules(destination: Destination[Any], payload: bytes) -> bytes | Unsent:
    """A payload after the operator's rules, for a destination that takes payloads as they are.

    Raises:
        ValueError, OverflowError, RecursionError: It is not an event.
    """
    event = EventReader(shares_contexts=False).read(payload)
    assert destination.rules is not None
    try:
        return encode(destination.rules.apply(event))
    except (UndeliverableError, DropEvent, TryLaterError) as decision:
        return _unsent(decision)
    except RecursionError:
        return too_deep(f"event {event.id}")
    except Exception as error:  # else one event that a rule trips over would hold up its whole batch
        return Dead(TRANSFORM, f"event {event.id}: {report_mistake(destination, error)}", asked=False)


def _unsent(decision: UndeliverableError | DropEvent | TryLaterError) -> Unsent:
    match decision:
        case UndeliverableError():
            return Dead(decision.reason, str(decision), asked=False)
        case TryLaterError():
            return RetryAfter(str(decision), None, decision.retry_class)
        case DropEvent():
            return Filtered(str(decision.reason))


def too_deep(event: str) -> Dead:
    """The outcome of an event whose data nests too deeply for Python to encode it where it stands in a request.

    Args:
        event: What the error calls it.
    """
    return Dead(INVALID, f"{event} has data that nests too deeply to be encoded: flatten it", asked=False)


def _oversized(destination: Maker[ItemT], entry: Entry[ItemT], size: int, limit: int) -> Dead:
    error = f"event {entry.event_id} makes {size} bytes and {destination.label} takes {limit}: put less into its data"
    return Dead(OVERSIZED, error, asked=False)


def _fill(destination: HttpDestination[Any, ItemT], entries: Sequence[Entry[ItemT]]) -> list[list[Entry[ItemT]]]:
    """Distribute entries to requests, each with as many as the limits allow, by the sizes of the items alone."""
    limits = destination.limits
    unfilled: dict[Hashable, list[Entry[ItemT]]] = {}
    sizes: dict[Hashable, int] = {}
    filled: list[list[Entry[ItemT]]] = []
    for entry in entries:
        request = unfilled.setdefault(entry.group, [])
        # A separator stands between two items.
        size = sizes.get(entry.group, 0) + entry.size + 1
        is_too_large = limits.request_bytes is not None and size > limits.request_bytes
        if request and (len(request) >= limits.events or is_too_large):
            filled.append(request)
            request, size = [], entry.size + 1
            unfilled[entry.group] = request
        request.append(entry)
        sizes[entry.group] = size
    return [*filled, *unfilled.values()]


def _fit(
    destination: HttpDestination[Any, ItemT], request: list[Entry[ItemT]], outcomes: dict[int, Unsent]
) -> list[list[Entry[ItemT]]]:
    """Halve a request until each part's whole body is within the limit. An entry too large for any gets its outcome."""
    limit = destination.limits.request_bytes
    if limit is None:
        return [request]
    try:
        size = destination.body_bytes([entry.item for entry in request], sum(entry.size for entry in request))
    except RecursionError:
        size = None  # an item that can just be encoded alone may nest too deeply inside of the body
    except Exception:
        return [request]  # the same will be raised when it is made to be sent, and is dealt with there
    if size is not None and size <= limit:
        return [request]
    if len(request) == 1:
        (entry,) = request
        if size is None:
            outcomes[entry.position] = too_deep(f"event {entry.event_id}")
        else:
            outcomes[entry.position] = _oversized(destination, entry, size, limit)
        return []
    half = len(request) // 2
    return _fit(destination, request[:half], outcomes) + _fit(destination, request[half:], outcomes)
