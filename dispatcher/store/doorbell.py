"""Doorbell: the small Celery task that says that a destination has work. It names a batch, and carries no events.

A lost doorbell is rung again, and a doubled one finds nothing to do, so ringing needs no guarantee of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import msgspec

from dispatcher.connections.redis_pool import Command
from dispatcher.store.slots import with_slot

if TYPE_CHECKING:
    from celery import Celery

_encoder = msgspec.json.Encoder()

# Celery's embed: a task without callbacks and without a workflow around it.
_EMBED: Final[dict[str, None]] = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Ring:
    """One doorbell.

    Args:
        destination: The queue, and in the task's name.
        batch_id: The batch that it names.
        count: How many events wait in the batch.
        attempts: How often it was parked: the task's ``retries``.
        example: The name of one of its events, for people who watch.
        slot: The destination's slot in which the batch waits.
    """

    destination: str
    batch_id: str
    count: int
    attempts: int = 0
    example: str = ""
    slot: int = 0

    @property
    def word(self) -> str:
        """The task's one argument: the batch, with its slot if that is not 0."""
        return with_slot(self.batch_id, self.slot)

    @property
    def task(self) -> str:
        """The name that workers know the task by."""
        return task_name(self.destination)

    @property
    def task_id(self) -> str:
        """The task's id, the same whenever the batch is rung for: Flower shows it as one task with its retries.

        With the destination in it, since batches of several destinations may have the same id.
        """
        return f"{self.destination}.{self.word}"

    @property
    def summary(self) -> str:
        """What Flower shows for the arguments: no personal data."""
        events = "1 event" if self.count == 1 else f"{self.count} events"
        example = f", {self.example}{'' if self.count == 1 else ', …'}" if self.example else ""
        attempt = f", attempt {self.attempts + 1}" if self.attempts else ""
        return f"({events}{example}{attempt})"


def task_name(destination: str) -> str:
    """The Celery task that delivers to a destination."""
    return f"tasks.{destination}.deliver"


def commands(rings: Sequence[Ring]) -> list[Command]:
    """Redis commands that ring, for a Celery broker that is the same Redis as the batch store.

    The message is what Celery's own producer would write, without what its consumers do not read
    (https://docs.celeryq.dev/en/stable/internals/protocol.html, kombu's Redis transport); a test has Celery read it.
    """
    messages: dict[str, list[bytes]] = {}
    for ring in rings:
        messages.setdefault(ring.destination, []).append(_message(ring, summary=ring.summary, tag=uuid4().hex))
    return [("LPUSH", queue, *encoded) for queue, encoded in messages.items()]


def send(app: Celery, rings: Sequence[Ring]) -> None:
    """Ring through Celery, for any other broker. Blocks up to the app's timeouts. Safe in threads.

    A ring that the broker has not confirmed may be lost: the bell finds the queue empty and rings again.

    Raises:
        OperationalError: kombu's: the broker is down.
    """
    with app.producer_or_acquire() as producer:
        for ring in rings:
            app.send_task(
                ring.task,
                args=[ring.word],
                queue=ring.destination,
                task_id=ring.task_id,
                retries=ring.attempts,
                argsrepr=ring.summary,
                kwargsrepr="{}",
                ignore_result=True,
                retry=False,
                producer=producer,
            )


def waiting(app: Celery, destination: str) -> int:
    """How many doorbells wait in a broker's queue, without those that a worker has in hand.

    Blocks like ``send``, and raises what it does.
    """
    with app.connection_or_acquire() as connection:
        # A connection that broke since its last use does not mend itself.
        connection.ensure_connection(max_retries=1)
        try:
            with connection.channel() as channel:
                return int(channel.queue_declare(destination, passive=True).message_count)
        except connection.channel_errors:
            return 0  # no worker has declared the queue, so it is empty


def headers(ring: Ring, *, summary: str) -> dict[str, Any]:
    """Make what Celery reads of a doorbell beside its body.

    Args:
        ring: Its destination, batch and attempts.
        summary: What Flower shows.
    """
    return {
        "lang": "py",
        "task": ring.task,
        "id": ring.task_id,
        "root_id": ring.task_id,
        "parent_id": None,
        "group": None,
        "eta": None,
        "expires": None,
        "retries": ring.attempts,
        "timelimit": [None, None],
        "argsrepr": summary,
        "kwargsrepr": "{}",
        "origin": "dispatcher",
        "ignore_result": True,
    }


def body(word: str) -> str:
    """Make the arguments of the task, as Celery writes them: the ring's word."""
    return _encoder.encode([[word], {}, _EMBED]).decode()


@cache
def template(destination: str, slot: int = 0) -> bytes:
    """The message of a doorbell as the store's scripts of one slot ring with it: they fill in what stands in ``<>``.

    ``<id>`` is the batch's, ``<summary>`` what Flower shows of it, ``<tag>`` is another one for each message; and the
    number of retries, which is 0 here.
    """
    ring = Ring(destination=destination, batch_id="<id>", count=0, slot=slot)
    return _message(ring, summary="<summary>", tag=with_slot("<tag>", slot))


def _message(ring: Ring, *, summary: str, tag: str) -> bytes:
    properties = {
        "correlation_id": ring.task_id,
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": ring.destination},
        "priority": 0,
        # kombu keeps what is not acknowledged under this key, so it must be another for each message.
        "delivery_tag": tag,
    }
    return _encoder.encode(
        {
            "body": body(ring.word),
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": headers(ring, summary=summary),
            "properties": properties,
        }
    )
