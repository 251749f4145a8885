"""An answer is decided by its final status line within one deadline, whatever comes before and after that line."""

from __future__ import annotations

import gzip
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import cache
from time import monotonic
from typing import Any, Final, TypeAlias

import pytest

from dispatcher.destinations.base import Destination
from dispatcher.tasks.destinations.http import HttpDestination
from dispatcher.tasks.testing.contract.answers import OUTCOMES
from dispatcher.tasks.testing.contract.subject import Subject, batch_of, errors_of, fates
from dispatcher.tasks.testing.vendor import Reply, Transfer, Vendor

#: How a reply goes over the wire.
Way: TypeAlias = Callable[[Reply], Transfer]

# Seconds that a request may take here: where an answer comes, where its status does, and where none does.
_ANSWER_SECONDS: Final = 10.0
_STATUS_SECONDS: Final = 1.0
_NO_ANSWER_SECONDS: Final = 0.5
# Seconds after which it hangs for certain, on a machine with other work.
_HANGS_SECONDS: Final = 30.0
# Statuses of events that were not taken, and what becomes of these.
_REFUSALS: Final = {307: "setup", 401: "setup", 429: "throttled", 503: "transient"}
# A byte now and then, for longer than anybody should wait.
_TRICKLE: Final = (b"x", 0.05) * 2000


def line_of(reply: Reply) -> bytes:
    """The status line of a reply that may have a body."""
    return f"HTTP/1.1 {200 if reply.status == 204 else reply.status} Whatever\r\n".encode()


def headers_of(reply: Reply) -> bytes:
    """The headers of a reply, without any that frame the body."""
    return "".join(f"{name}: {value}\r\n" for name, value in reply.headers.items()).encode()


def head_of(reply: Reply, *lines: bytes) -> bytes:
    """Status line, headers and further lines of headers, up to the blank line."""
    return line_of(reply) + headers_of(reply) + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def whole(reply: Reply) -> bytes:
    """A reply as it should be."""
    return head_of(reply, b"Content-Length: %d" % len(reply.body)) + reply.body


@cache
def bomb() -> bytes:
    """16 MiB in 16 KiB."""
    return gzip.compress(bytes(1 << 24), mtime=0)


def chunk(body: bytes) -> bytes:
    """One chunk of a body."""
    return b"%x;name=value\r\n%s\r\n" % (len(body), body)


#: Answers from which everything can be learnt.
READABLE: Final[Mapping[str, Way]] = {
    "after 100, 102 and 103": lambda reply: [
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX-A: 1\r\n\r\n",
        0.01,
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + whole(reply),
    ],
    "with 120 header lines": lambda reply: [
        head_of(reply, b"Content-Length: %d" % len(reply.body), *[b"X-%d: a" % n for n in range(120)]) + reply.body
    ],
    "with a header line of 100 000 bytes": lambda reply: [
        head_of(reply, b"X-Long: " + b"a" * 100_000, b"Content-Length: %d" % len(reply.body)) + reply.body
    ],
    "with header lines that have no form": lambda reply: [
        head_of(reply, b"nonsense", b": empty", b" folded", b"X-\xff: \xfe", b"Content-Length:%d" % len(reply.body))
        + reply.body
    ],
    "without a reason": lambda reply: [whole(reply).replace(b" Whatever", b"")],
    "with line feeds alone": lambda reply: [whole(reply).replace(b"\r\n", b"\n")],
    "with a blank line before": lambda reply: [b"\r\n" + whole(reply)],
    "without a length": lambda reply: [head_of(reply) + reply.body, None],
    "with the same length twice": lambda reply: [
        head_of(reply, *[b"content-length: %d" % len(reply.body)] * 2) + reply.body
    ],
    "in HTTP/1.0": lambda reply: [whole(reply).replace(b"HTTP/1.1", b"HTTP/1.0"), None],
    "in chunks with trailers": lambda reply: [
        head_of(reply, b"Transfer-Encoding: chunked"),
        *[chunk(reply.body[n : n + 3]) for n in range(0, len(reply.body), 3)],
        b"0\r\nX-Trailer: a\r\n\r\n",
    ],
    "byte by byte": lambda reply: [bytes([byte]) for byte in whole(reply)],
    "compressed": lambda reply: [
        head_of(reply, b"Content-Encoding: gzip", b"Content-Length: %d" % len(gzip.compress(reply.body, mtime=0)))
        + gzip.compress(reply.body, mtime=0)
    ],
    "twice": lambda reply: [whole(reply) + whole(reply)],
}

#: Answers whose body is lost: only the status can be known.
BODY_LOST: Final[Mapping[str, Way]] = {
    "a short body": lambda reply: [head_of(reply, b"Content-Length: %d" % (len(reply.body) + 9)) + reply.body, None],
    "a length that is none": lambda reply: [head_of(reply, b"Content-Length: many") + reply.body, None],
    "two lengths": lambda reply: [head_of(reply, b"Content-Length: 1", b"Content-Length: 2") + reply.body, None],
    "a chunk without a size": lambda reply: [head_of(reply, b"Transfer-Encoding: chunked") + b"zz\r\n{}\r\n"],
    "a chunk of another size": lambda reply: [head_of(reply, b"Transfer-Encoding: chunked") + b"1\r\n{}\r\n0\r\n\r\n"],
    "a chunk that ends early": lambda reply: [head_of(reply, b"Transfer-Encoding: chunked") + b"ffff\r\n{}", None],
    "a broken coding": lambda reply: [head_of(reply, b"Content-Encoding: gzip", b"Content-Length: 4") + b"nope"],
    "an unknown coding": lambda reply: [head_of(reply, b"Content-Encoding: br", b"Content-Length: 4") + b"nope"],
    "a bomb": lambda reply: [head_of(reply, b"Content-Encoding: gzip", b"Content-Length: %d" % len(bomb())) + bomb()],
    "headers that break off": lambda reply: [line_of(reply) + headers_of(reply) + b"X-A: ", None],
    "a body that trickles": lambda reply: [head_of(reply, b"Content-Length: 100000"), *_TRICKLE],
    "a body without an end": lambda reply: [head_of(reply), *_TRICKLE],
    "headers that trickle": lambda reply: [line_of(reply) + headers_of(reply) + b"X-A: ", *_TRICKLE],
    "a body of many MiB": lambda reply: [head_of(reply), *[b" " * 65_536] * 100, *_TRICKLE],
}

#: Of these, those that stand for the others where each costs time.
FEW: Final = ("a short body", "a broken coding", "headers that break off")

#: What does not count as an answer.
NO_ANSWER: Final[Mapping[str, Way]] = {
    "a body alone, as in HTTP/0.9": lambda reply: [reply.body or b"{}", None],
    "another protocol": lambda reply: [b"SSH-2.0-OpenSSH_9.6\r\n", None],
    "bytes without an end": lambda reply: [b"\xff" * 100_000, None],
    "half a status": lambda reply: [b"HTTP/1.1 20", None],
    "informational answers alone": lambda reply: [b"HTTP/1.1 103 Early Hints\r\n\r\n" * 3, None],
    "informational answers without an end": lambda reply: [b"HTTP/1.1 103 E\r\n\r\n", 0.05] * 2000,
    "a status that trickles": lambda reply: [b"H", 0.4, b"T", 0.4, b"T", 0.4, b"P", 0.4, b"/", 60.0],
}


class FinalStatusContract(Subject):
    """Tests of everything that HTTP, or a broken server, puts around a final status line."""

    @pytest.mark.parametrize("way", READABLE)
    def test_an_answer_counts_in_each_form_that_servers_give_it(self, way: str, server: Vendor) -> None:
        found = self._deliver_answered(server, READABLE[way], timeout_seconds=_ANSWER_SECONDS)

        assert found == ["delivered", "delivered"]

    @pytest.mark.parametrize("way", BODY_LOST)
    def test_a_status_of_success_counts_whatever_follows_it(self, way: str, server: Vendor) -> None:
        found = self._deliver_answered(server, BODY_LOST[way])

        # Where the body says what was taken, its loss leaves that open.
        assert found == (["transient"] * 2 if self._reads_body() else ["delivered"] * 2)

    @pytest.mark.parametrize("way", FEW)
    def test_at_most_once_sends_nothing_again_whose_answer_was_lost(self, way: str, server: Vendor) -> None:
        found = self._deliver_answered(server, BODY_LOST[way], at_most_once=True)

        # Where each event has a request of its own, the second may not have been sent any more.
        assert found[0] == ("unanswered" if self._reads_body() else "delivered")

    @pytest.mark.parametrize(
        ("status", "fate", "way"),
        [
            *[(status, fate, way) for status, fate in _REFUSALS.items() for way in FEW],
            (429, "throttled", "headers that trickle"),
        ],
    )
    def test_a_refusal_counts_whatever_follows_it(self, status: int, fate: str, way: str, server: Vendor) -> None:
        server.always = Reply(status=status, body=b"{}", headers={"Retry-After": "7"})

        # None of these statuses leaves open whether the events were taken.
        assert self._deliver_answered(server, BODY_LOST[way], at_most_once=True, seconds=7.0) == [fate] * 2

    @pytest.mark.parametrize("way", FEW)
    def test_no_event_dies_of_an_answer_that_could_not_be_read(self, way: str, server: Vendor) -> None:
        server.always = Reply(status=400, body=b"{}")

        # The body may say that it is about the account. Where nobody reads it, the status says all.
        fate = "transient" if self._reads_body() else {**OUTCOMES, **self.answers}[400]
        assert self._deliver_answered(server, BODY_LOST[way], at_most_once=True) == [fate] * 2

    @pytest.mark.parametrize("way", NO_ANSWER)
    def test_what_is_no_answer_leaves_its_events_waiting(self, way: str, server: Vendor) -> None:
        assert self._deliver_answered(server, NO_ANSWER[way], timeout_seconds=_NO_ANSWER_SECONDS) == [
            "transient",
            "transient",
        ]

    @pytest.mark.parametrize("way", [*READABLE, *FEW])
    def test_the_next_request_is_answered_for_itself(self, way: str, server: Vendor) -> None:
        with self._open_briefly(server, timeout_seconds=_ANSWER_SECONDS) as destination:
            server.transfer = {**READABLE, **BODY_LOST}[way]
            destination.deliver(batch_of(self.events(1)))
            server.transfer = None
            outcomes = destination.deliver(batch_of(self.events(2)))

        assert fates(outcomes) == ["delivered", "delivered"], errors_of(outcomes)

    def _reads_body(self) -> bool:
        destination_class = self.destination_class()
        assert issubclass(destination_class, HttpDestination)
        return destination_class.body_matters

    def _open_briefly(self, server: Vendor, **options: Any) -> AbstractContextManager[Destination[Any]]:
        if not issubclass(self.destination_class(), HttpDestination):
            pytest.skip("it reads answers in a way of its own")
        return self.open_destination(server.url, **{"timeout_seconds": _STATUS_SECONDS, **options})

    def _deliver_answered(self, server: Vendor, way: Way, *, seconds: float | None = None, **options: Any) -> list[str]:
        """What becomes of two events that are answered in a way."""
        server.transfer = way
        with self._open_briefly(server, **options) as destination:
            began = monotonic()
            outcomes = destination.deliver(batch_of(self.events(2)))
            assert monotonic() - began < _HANGS_SECONDS, "it has waited for the rest of the answer"
        assert not errors_of(outcomes) or "127.0.0.1" in errors_of(outcomes)
        if seconds is not None:
            assert {getattr(outcome, "seconds", None) for outcome in outcomes} == {seconds}
        return fates(outcomes)
