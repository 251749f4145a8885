"""Route: what one path of the collector does with a request, and what it may answer. Pure: nothing here does I/O."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from dispatcher.collector.sources import Source, Sources
    from dispatcher.emit.context import BoundContext
    from dispatcher.event import Event
    from dispatcher.intake.refused import Refused

#: Fields of a query beyond which it is not read.
_MAX_FIELDS: Final = 100


class HeaderNames(dict[bytes, str | None]):
    """Names of headers as they were sent, with the text in lower case of those that are looked at, None for others.

    Most clients write a name in one of two ways; a look-up is faster than to lower and decode it again.
    """

    def __missing__(self, name: bytes) -> str | None:
        text = name.decode("latin-1").lower()
        found = text if text in _LOOKED_AT else None
        if len(self) < _MAX_NAMES:
            self[name] = found
        return found


# What routes and the app ask for; only a function of the site, collector.user, gets all headers.
_LOOKED_AT: Final = frozenset(
    {
        *("accept-language", "authorization", "content-encoding", "expect", "host", "if-none-match", "origin"),
        *("referer", "transfer-encoding", "user-agent", "x-forwarded-for", "x-forwarded-proto"),
    }
)
_MAX_NAMES: Final = 1_000
_names: Final = HeaderNames()


def read_known_headers(raw: Sequence[tuple[bytes, bytes]]) -> dict[str, str]:
    """Those headers that anything here asks for, by name in lower case; of one that comes twice, the first.

    Args:
        raw: As they were sent.
    """
    names = _names
    return {known: value.decode("latin-1") for name, value in reversed(raw) if (known := names[name]) is not None}


@dataclass(slots=True)
class RequestMemory:
    """What was made of one head, for the next request that has the very same, byte for byte, from the same address.

    Attributes:
        source: The source that ``context`` is for.
        context: Of ``Request.context``. Whoever puts something into it copies it first.
        page: The last context of an event of a page: the request's, what the page said, and what became of both.
        bound: That, encoded, with the dict that it was made of; see ``Committer.append``.
    """

    source: Source | None = None
    context: dict[str, Any] | None = None
    page: tuple[dict[str, Any], tuple[Any, ...], dict[str, Any]] | None = None
    bound: tuple[dict[str, Any], BoundContext] | None = None


@dataclass(slots=True)
class Request:
    """A request whose body was read and inflated within the limits.

    Attributes:
        method: In capitals.
        path: Without the query, decoded.
        headers: By name in lower case; of a header that comes twice, the first.
        query: As it was sent, without the question mark.
        body: The whole body, without gzip or deflate.
        address: Who sent it, by the proxies of the settings; empty where that is unknown. ``context`` obeys the
            source's policy, this does not.
        received_at: When its body had come, in UTC.
        user: What ``collector.user`` says of who sent it; empty where that is not known.
        memory: What requests with this head have left for one another. Only where ``user`` is empty.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    query: bytes
    body: bytes
    address: str
    received_at: datetime
    user: Mapping[str, Any] = field(default_factory=dict)
    memory: RequestMemory = field(default_factory=RequestMemory)

    def fields(self) -> dict[str, str]:
        """The fields of the query; of one that comes twice, the last. Text that is not UTF-8 is replaced."""
        try:
            return dict(parse_qsl(self.query.decode("latin-1"), keep_blank_values=True, max_num_fields=_MAX_FIELDS))
        except ValueError:  # more fields than that
            return {}

    def context(self, source: Source) -> dict[str, Any]:
        """The tracking context of the request, which goes into each of its events; see docs/reference/events.md.

        Args:
            source: Its policy decides what is kept of the address.

        Returns:
            ``ip``, ``agent``, ``referer``, ``host``, ``accept_language`` and what ``user`` has, as far as they are
            known. The next request may get the same dict: copy it to change it.
        """
        memory = self.memory
        if memory.context is not None and memory.source is source:
            return memory.context
        headers = self.headers
        values = {
            "ip": source.shown_address(self.address),
            "agent": headers.get("user-agent"),
            "referer": headers.get("referer"),
            "host": headers.get("host"),
            "accept_language": headers.get("accept-language"),
        }
        memory.source = source
        memory.context = context = {name: value for name, value in values.items() if value} | dict(self.user)
        return context


@dataclass(frozen=True, slots=True)
class Rejected:
    """One item of a batch that was not taken; the others were.

    Attributes:
        index: Its place in the batch, from 0.
        id: The id that it brought, or empty.
        code: A reason such as ``bad_timestamp``: a counter of that name grows.
        message: What is wrong with it and what to do, without any value of it.
    """

    index: int
    id: str
    code: str
    message: str


@dataclass(slots=True)
class Accepted:
    """What a route makes of a good request: its events, and what of it was not taken.

    Attributes:
        source: Whose request it is; None where no event is in it, as of a file that is served.
        events: In the order in which they came. An empty id has one made.
        rejected: The items that are no events.
        indexes: The place in the batch of each event; None: 0, 1, 2 …
        body: The answer; None: JSON with ``accepted`` and ``rejected``.
        headers: Of the answer, in lower case, beside those that every answer has.
        status: 200, or 304 and the like for what is served.
        dropped: How many events the client says that it had to drop, by reason.
        client: The version of tracker.js that sent it, as it says; None where another program sent it.
        depth: A bound of how deep events nest, where the route knows one; None has them looked into.
        memory: The request's.
        handover: The calls that the events become on the page that sent them, as ``handover.py`` has them.
        later: What has to be waited for to have the answer; only of routes that are not answered at once. It is given
            a future that is done once the client has gone, and may then give None.
    """

    source: Source | None
    events: Sequence[Event] = ()
    rejected: list[Rejected] = field(default_factory=list)
    indexes: Sequence[int] | None = None
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    status: int = 200
    dropped: Mapping[str, int] = field(default_factory=dict)
    client: Any = None
    depth: int | None = None
    memory: RequestMemory | None = None
    handover: Sequence[Mapping[str, Any]] = ()
    later: Callable[[Future[None]], Awaitable[Accepted | Refused | None]] | None = None


class Route(Protocol):
    """A function of a request: synchronous, and without I/O. It may raise nothing."""

    @property
    def methods(self) -> frozenset[str]:
        """Which it answers; OPTIONS is answered before."""
        ...

    def __call__(self, request: Request, sources: Sources) -> Accepted | Refused:
        """Read the request. ``sources.admit(key, request)`` gives its source, or the refusal to return."""
        ...
