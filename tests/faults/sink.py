"""Sink: a stand-in for Segment that behaves as it is told, and counts every message by its id."""

from __future__ import annotations

import json
import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import Any

from tests.support.vendor import CUT, Call, Reply, Vendor

# Seconds after which a hanging request is cut, unless the behaviour changes before.
_HANG_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reaction:
    """What the sink does with one request.

    Args:
        status: The status of the answer; None closes the connection without an answer.
        takes: Whether the messages count as taken, whatever the answer says.
        delay_seconds: How long it waits before the answer.
        hangs: Whether it waits until the behaviour changes, and then closes the connection.
        headers: Of the answer.
    """

    status: int | None = 200
    takes: bool = True
    delay_seconds: float = 0.0
    hangs: bool = False
    headers: dict[str, str] = field(default_factory=dict)


Messages = list[dict[str, Any]]
Behaviour = Callable[[Messages], Reaction]


def answering(_: Messages) -> Reaction:
    """Take everything."""
    return Reaction()


def failing(status: int, **headers: str) -> Behaviour:
    """Refuse everything with this status."""
    return lambda _: Reaction(status=status, takes=False, headers=headers)


def throttling(seconds: int, *, as_date: bool) -> Behaviour:
    """Answer 429 with Retry-After, in seconds or as a date."""

    def behave(_: Messages) -> Reaction:
        until = datetime.now(UTC) + timedelta(seconds=seconds)
        after = format_datetime(until, usegmt=True) if as_date else str(seconds)
        return Reaction(status=429, takes=False, headers={"Retry-After": after})

    return behave


def refusing_poison(messages: Messages) -> Reaction:
    """Answer 400 to a request with a poison event, and take all others."""
    bad = any("poison" in message.get("properties", {}) for message in messages)
    return Reaction(status=400, takes=False) if bad else Reaction()


def hanging(_: Messages) -> Reaction:
    """Read the request and never answer."""
    return Reaction(status=None, takes=False, hangs=True)


def cutting(_: Messages) -> Reaction:
    """Take the messages and close the connection without an answer."""
    return Reaction(status=None)


def late(seconds: float) -> Behaviour:
    """Take the messages and answer 200 after the client has given up."""
    return lambda _: Reaction(delay_seconds=seconds)


def slow(seconds: float) -> Behaviour:
    """Take everything and answer 200 after a while."""
    return late(seconds)


def sometimes(fraction: float, chance: Random, behaviour: Behaviour) -> Behaviour:
    """Behave so for a random fraction of the requests, and take the others."""
    return lambda messages: behaviour(messages) if chance.random() < fraction else Reaction()


class ScriptedSink(Vendor):
    """Takes Segment's POST /v1/batch and treats it as ``behave`` was last told. Safe in threads.

    ``seen`` counts the messages of whole requests by messageId, ``taken`` those that were kept: a message that was
    taken twice is one that Segment must recognise by its id.
    """

    def __init__(self) -> None:
        super().__init__()
        # Calls are not kept: half a million events would fill the memory.
        self.calls = deque(maxlen=0)
        self._behaviour: Behaviour = answering
        self._changed = threading.Event()
        self.seen: Counter[str] = Counter()
        #: The event of each message id.
        self.keys: dict[str, str] = {}
        self.requests = 0
        self.statuses: Counter[str] = Counter()

    def behave(self, behaviour: Behaviour) -> None:
        """Behave like this from now on. Requests that hang are cut."""
        with self._lock:
            self._behaviour = behaviour
            changed, self._changed = self._changed, threading.Event()
        changed.set()

    def close(self) -> None:
        """Stop listening, finish the answers in progress, and hang up. May be called twice."""
        self._changed.set()
        super().close()

    def answer(self, call: Call) -> Reply:
        """Count a request, and do with it what the behaviour says."""
        messages = call.value["batch"]
        with self._lock:
            reaction, changed = self._behaviour(messages), self._changed
            self._count(messages, reaction)
        if reaction.hangs:
            changed.wait(_HANG_SECONDS)
        elif reaction.delay_seconds:
            # Not ended by a change of behaviour: a late answer stays late.
            threading.Event().wait(reaction.delay_seconds)
        if reaction.status is None:
            return CUT
        body = json.dumps({"success": reaction.status == 200}).encode()
        return Reply(
            status=reaction.status, headers={"Content-Type": "application/json", **reaction.headers}, body=body
        )

    def counts(self) -> tuple[Counter[str], Counter[str]]:
        """Copies of ``seen`` and ``taken``."""
        with self._lock:
            return Counter(self.seen), Counter(self.taken)

    def _count(self, messages: Messages, reaction: Reaction) -> None:
        self.requests += 1
        self.statuses[str(reaction.status or ("hung" if reaction.hangs else "cut"))] += 1
        for message in messages:
            message_id = message["messageId"]
            self.keys[message_id] = message.get("properties", {}).get("k", "")
            self.seen[message_id] += 1
            if reaction.takes:
                self.taken[message_id] += 1
