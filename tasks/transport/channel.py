"""Channel and Transport: how a worker takes doorbells from Redis's lists, and gives back what it does not get to.

They override private parts of kombu 5.7's Redis transport, which is why pyproject.toml pins that minor version. Each
class names its own.
"""

from __future__ import annotations

import logging
import os
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import Empty
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from kombu.transport import redis as kombu_redis
from kombu.transport import virtual
from kombu.utils.json import loads
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError
from redis.retry import Retry

from dispatcher.connections.embedded import check_socket
from dispatcher.errors import UntrustedSocketError
from dispatcher.tasks.transport.intake import UnknownMessageError, check_control_message, doorbell
from dispatcher.tasks.transport.liveness import LIVENESS
from dispatcher.tasks.transport.qos import QoS
from dispatcher.tasks.transport.refusals import REFUSALS
from dispatcher.tasks.transport.wrong_type import WrongTypeKeys

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from redis import Redis

logger = logging.getLogger(__name__)

# Doorbells taken at a time, however many a worker may hold: a worker that is killed then loses few.
_MAX_TAKEN: Final = 16
# Seconds to wait for a doorbell while some queue is left out: it may soon have room again.
_SHORT_TIMEOUT: Final = 0.004
# A key that never exists. Its prefix is kombu's, so that the worker's rights cover it.
_NO_KEY: Final = "_kombu.binding.none"


class Doorbell(dict[str, Any]):
    """A message as it was taken: with the list it came from and its text, which Celery does not change."""

    key: str
    text: bytes


class Channel(kombu_redis.Channel):
    """kombu's channel, which takes a message with one command and keeps no record of it in Redis.

    It has kombu's lists, its order (round robin over the queues), remote control and events. It leaves out the keys
    ``unacked`` and ``unacked_index``, and with them the visibility timeout.

    Overrides: __init__, _connparams, _create_client, _size, _queue_bind, _refresh_bindings, _brpop_start,
    _brpop_read, _handle_message, _deliver_fanout_message, _restore, close.
    Uses: _queue_cycle, _q_for_pri, _in_poll, _brpop_sent_at, _flush_brpop_reauth, _disconnect_pools, _closing, _qos,
    the poller's discard, the transport's _deliver, and _prefix_args of the prefixed client.
    """

    QoS = QoS  # type: ignore[assignment]  # kombu asks for no more than virtual.QoS has
    _in_poll: Any
    _brpop_sent_at: Any

    _sync_client: tuple[int, Redis] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._wrong_type = WrongTypeKeys()
        # Lists that had more when last asked, and how many doorbells were asked for from each behind the current BRPOP.
        self._not_empty: dict[str, None] = {}
        self._asked: dict[str, int] = {}
        super().__init__(*args, **kwargs)
        try:
            # A replica, or a Redis that cannot write to its disk, answers kombu's PING. If this fails, Celery waits
            # before the next try; if a later command failed, Celery would reconnect without a pause.
            self._create_client().delete(_NO_KEY)
        except ResponseError as error:
            self.connection.cycle.discard(self)
            self._disconnect_pools()
            raise RedisConnectionError(str(error)) from error

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        # A channel that outlived its connection raises AttributeError in kombu, which ends the worker; after a
        # connection error it reconnects.
        if self.connection is None or self.connection.client is None:
            raise RedisConnectionError("the channel's connection is gone")
        parameters: dict[str, Any] = super()._connparams(asynchronous=asynchronous)
        if "path" in parameters:
            try:
                check_socket(Path(parameters["path"]))
            except (OSError, UntrustedSocketError) as error:
                raise RedisConnectionError(str(error)) from error
        # redis-py itself would try ten times to reach a Redis that does not answer, and block the worker's loop for a
        # minute. Celery reconnects.
        return {**parameters, "retry": Retry(NoBackoff(), 0)}

    def _create_client(self, asynchronous: bool = False) -> Redis:
        # kombu makes a client for each command outside its event loop; that is a quarter of a small task's time.
        if asynchronous:
            client: Redis = super()._create_client(asynchronous=True)
            return client
        pid = os.getpid()
        if self._sync_client is None or self._sync_client[0] != pid or self._pool is None:
            self._sync_client = (pid, super()._create_client())
        return self._sync_client[1]

    def _size(self, queue: str) -> int:
        # Called at each start. kombu's own uses a transaction, which Redis refuses at maxmemory.
        keys = [self._q_for_pri(queue, priority) for priority in self.priority_steps]
        with self.conn_or_acquire() as client:
            return sum(client.llen(key) for key in keys if not self._wrong_type.find(client, [key]))

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        with _ignore_full_memory():
            super()._queue_bind(exchange, routing_key, pattern, queue)

    def _refresh_bindings(self, queues: Sequence[str]) -> None:
        with _ignore_full_memory():
            super()._refresh_bindings(queues)

    def _brpop_start(self, timeout: float | None = None) -> None:
        """Ask for one doorbell of any queue, and for more of those queues that had more just now."""
        queues = self._queue_cycle.consume(len(self.active_queues))
        if not queues:
            return
        every_key = self._wrong_type.without(self._keys(queues))
        room = self._room_for(every_key)
        keys = [key for key in every_key if room.get(key, 1) > 0] or every_key or [_NO_KEY]
        if len(keys) < len(every_key):
            timeout = _SHORT_TIMEOUT
        self._asked = self._distribute([key for key in keys if key in self._not_empty], room)
        commands: list[list[Any]] = [["BRPOP", *keys, (self.brpop_timeout if timeout is None else timeout) or 0]]
        # Redis runs these after the BRPOP, in the same round trip.
        commands += [["RPOP", key, count] for key, count in self._asked.items()]
        if self.global_keyprefix:
            commands = [self.client._prefix_args(command) for command in commands]
        connection = self.client.connection
        self._in_poll = connection
        self._brpop_sent_at = monotonic()
        connection.send_packed_command(connection.pack_commands(commands))

    def _keys(self, queues: Sequence[str]) -> list[str]:
        return [self._q_for_pri(queue, priority) for priority in self.priority_steps for queue in queues]

    def _room_for(self, keys: list[str]) -> dict[str, int]:
        """How many more doorbells of each list may be in hand. Empty: any number of any list.

        A destination that hangs keeps the doorbells that it was given. So with more than one list, each leaves one
        place for the others.
        """
        limit = self.qos.prefetch_count - 1
        if len(keys) < 2 or limit < 1:
            return {}
        in_hand = self.qos.in_hand()
        return {key: max(0, limit - in_hand[key]) for key in keys}

    def _distribute(self, keys: list[str], room_for: dict[str, int]) -> dict[str, int]:
        """How many doorbells to take from each list, beside the one of the BRPOP. Lists without any are left out."""
        # With priorities, urgent doorbells have to come first, and only BRPOP keeps that order.
        if not keys or len(self.priority_steps) > 1:
            return {}
        room = self.qos.room
        total = min(_MAX_TAKEN if room is None else room - 1, _MAX_TAKEN)
        each, rest = divmod(total, len(keys))
        counts = {key: each + (number < rest) for number, key in enumerate(keys)}
        counts = {key: min(count, room_for.get(key, count + 1) - 1) for key, count in counts.items()}
        return {key: count for key, count in counts.items() if count > 0}

    def _brpop_read(self, **options: Any) -> bool:
        """Read what was asked for, and hand each doorbell on. Raises Empty if nothing came."""
        try:
            taken = self._read_answers(**options)
        finally:
            self._in_poll = None
            # No command is waiting for its answer now, so new credentials can be sent.
            self._flush_brpop_reauth()
        LIVENESS.note()
        if not taken:
            raise Empty
        for key, text in taken:
            self._hand_on(key, text)
        return True

    def _read_answers(self, **options: Any) -> list[tuple[str, bytes]]:
        connection = self.client.connection
        taken: list[tuple[str, bytes]] = []
        try:
            answer = self._read_answer(connection, "BRPOP", **options)
            if answer:
                key = _text(answer[0])
                taken.append((key, answer[1]))
                self._not_empty[key] = None
                self._queue_cycle.rotate(self._queue_of(key))
            for key, count in self._asked.items():
                texts = self._read_answer(connection, "RPOP") or []
                taken += [(key, text) for text in texts]
                if len(texts) < count:
                    self._not_empty.pop(key, None)
        except Exception:
            # Unread answers may be left on the connection, and would be taken for those of the next commands.
            connection.disconnect()
            raise
        return taken

    def _read_answer(self, connection: Any, command: str, **options: Any) -> Any:
        try:
            return self.client.parse_response(connection, command, **options)
        except ResponseError as error:
            # Celery would reconnect, fail again, and give up after some five times.
            if not str(error).startswith("WRONGTYPE"):
                raise
            self._wrong_type.find(self._create_client(), self._keys(self.active_queues))
            return None

    def _hand_on(self, key: str, text: bytes) -> None:
        queue = self._queue_of(key)
        try:
            # Programs that ask workers by remote control read answers from such a list. No destination has its name.
            if queue.endswith(".reply.celery.pidbox"):
                check_control_message("reply.", text)
                message = Doorbell(loads(text))
            else:
                message = Doorbell(doorbell(queue, text))
        except UnknownMessageError:
            REFUSALS.note(queue)
            return
        message.key, message.text = key, text
        try:
            self.connection._deliver(message, queue)
        except (ValueError, TypeError, LookupError, AttributeError):
            # A doorbell that is not delivered would count as in hand for ever.
            REFUSALS.note(queue)
            self.qos.ack(message["properties"]["delivery_tag"])

    def _deliver_fanout_message(self, message: Any, exchange: str) -> bool:
        # Called with what `_receive_one` has read. kombu's own would log in full what it cannot deliver.
        try:
            super()._deliver_fanout_message(message, exchange)
        except (ValueError, TypeError, LookupError, AttributeError):
            REFUSALS.note(exchange)
        return True

    def _handle_message(self, client: Any, response: Any) -> dict[str, Any]:
        """A message of a channel that is subscribed to. Without its data if that is not Celery's."""
        message: dict[str, Any] = super()._handle_message(client, response)
        if _text(message["type"]).endswith("message") and message["data"]:
            channel = _text(message["channel"])
            # As kombu takes it apart.
            exchange = (channel.partition(".")[2] if channel.startswith("/") else channel).partition("/")[0]
            try:
                check_control_message(exchange, message["data"])
            except UnknownMessageError:
                REFUSALS.note(exchange)
                message["data"] = None
        return message

    def _queue_of(self, key: str) -> str:
        return key.rsplit(self.sep, 1)[0]

    def give_back(self, messages: Sequence[virtual.Message], *, last: bool = False) -> None:
        """Put messages back where they came from. Blocks.

        Args:
            messages: In the order in which they were taken.
            last: Have them come after all others, and not next.

        Raises:
            redis.RedisError: Redis does not take them.
        """
        texts: dict[str, list[bytes]] = {}
        for message in messages:
            if isinstance(message._raw, Doorbell):
                texts.setdefault(message._raw.key, []).append(message._raw.text)
            else:
                # Taken with basic_get, which no worker uses.
                virtual.Channel._restore(self, message)
        with self.conn_or_acquire() as client:
            for key, given_back in texts.items():
                if last:
                    client.lpush(key, *given_back)
                else:
                    client.rpush(key, *reversed(given_back))

    def _restore(self, message: virtual.Message, leftmost: bool = False) -> None:
        # Consumers take from the right, so what is leftmost comes last.
        self.give_back([message], last=leftmost)

    def close(self) -> None:
        """Give back what is in hand, and close. May be called twice."""
        self._closing = True
        if self._in_poll:
            # The current command may have taken one more doorbell.
            with suppress(Empty):
                self._brpop_read()
        if not self.closed and self._qos is not None:
            # While the connection is still open.
            self._qos.restore_unacked_once()
        super().close()


class Poller(kombu_redis.MultiChannelPoller):
    """kombu's poller, which notes the consumer's liveness while no queue is served.

    Overrides: on_poll_start. Reads: _channels.
    """

    def on_poll_start(self) -> None:
        super().on_poll_start()
        # After remote control has cancelled every queue, nothing is asked of Redis.
        if not any(channel._active_queues for channel in self._channels if not channel.closed):
            LIVENESS.note()


def serves(url: str) -> bool:
    """Whether a broker's URL, as kombu spells it, is one that this transport connects to."""
    return url.startswith(("redis://", "rediss://", "redis+socket://", "sentinel://"))


class Transport(kombu_redis.Transport):
    """kombu's Redis transport with our channel."""

    Channel = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle: Any = Poller()


@contextmanager
def _ignore_full_memory() -> Iterator[None]:
    # At maxmemory Redis refuses to store which queue is bound to which exchange. Only those who publish to an exchange
    # by its name need that, whereas doorbells are pushed to their list; and a worker that did not start would free no
    # memory.
    try:
        yield
    except ResponseError as error:
        # An error of this class comes from a script too; the text is Redis's.
        if "maxmemory" not in str(error):
            raise


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
