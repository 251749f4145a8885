"""Consumer: Celery's, which hands on doorbells and nothing else, for any broker.

The channel has checked what comes from Redis (tasks/transport/intake.py); messages of other brokers are checked here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, NoReturn

from celery.worker.consumer import consumer as celery_consumer
from kombu import compression
from kombu.message import Message

from dispatcher.tasks.transport import REFUSALS
from dispatcher.tasks.transport.channel import Doorbell
from dispatcher.tasks.transport.intake import UnknownMessageError, amqp_doorbell

logger = logging.getLogger(__name__)


class Consumer(celery_consumer.Consumer):
    """Of Celery 5.7. Overrides: create_task_handler, on_decode_error."""

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], object]:
        """The function that is called with each message of a queue."""
        hand_on: Callable[[Message], object] = super().create_task_handler(*args, **kwargs)

        def on_message(message: Message) -> None:
            if not isinstance(getattr(message, "_raw", None), Doorbell) and not _keep_doorbell(message):
                self._refuse(message)
                return
            hand_on(message)

        return on_message

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Called by Celery, whose own method logs the message in full."""
        self._refuse(message)

    def _refuse(self, message: Message) -> None:
        REFUSALS.note(_queue(message))
        message.ack_log_error(logger, self.connection_errors)


def refuse_compressed() -> None:
    """Have kombu refuse compressed messages: none of ours is, and one of a kilobyte may fill the memory."""
    for content_type in compression.encoders():
        compression.register(compression.get_encoder(content_type)[0], _refuse, content_type)


def _refuse(_: object) -> NoReturn:
    raise UnknownMessageError


def _queue(message: Message) -> str:
    return str((message.delivery_info or {}).get("routing_key") or "a queue")


def _keep_doorbell(message: Message) -> bool:
    """Whether the message is a doorbell. If it is, everything else is taken out of it."""
    queue, content = _queue(message), message.body
    if message.content_type != "application/json" or message.content_encoding != "utf-8" or message.errors:
        return False
    try:
        doorbell = amqp_doorbell(
            queue, message.headers, content.encode() if isinstance(content, str) else bytes(content)
        )
    except UnknownMessageError:
        return False
    message.headers, message.body = doorbell["headers"], doorbell["body"].encode()
    message.properties = {"correlation_id": doorbell["properties"]["correlation_id"]}
    return True
