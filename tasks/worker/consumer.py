"""Consumer: Celery's, which hands on doorbells and nothing else, whatever the broker.

What comes from Redis the channel has looked at (tasks/transport); messages of other brokers have forms of their own.
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
from dispatcher.tasks.transport.intake import NotOursError, amqp_doorbell

logger = logging.getLogger(__name__)


class Consumer(celery_consumer.Consumer):
    """Of Celery 5.7. Overrides: create_task_handler, on_decode_error."""

    def create_task_handler(self, *args: Any, **kwargs: Any) -> Callable[[Message], object]:
        """What is called with each message of a queue."""
        hand_on: Callable[[Message], object] = super().create_task_handler(*args, **kwargs)

        def on_message(message: Message) -> None:
            if not isinstance(getattr(message, "_raw", None), Doorbell) and not _is_made_doorbell(message):
                self._refuse(message)
                return
            hand_on(message)

        return on_message

    def on_decode_error(self, message: Message, exc: Exception) -> None:
        """Called by Celery, whose own logs the message in full."""
        self._refuse(message)

    def _refuse(self, message: Message) -> None:
        REFUSALS.note(_queue(message))
        message.ack_log_error(logger, self.connection_errors)


def refuse_compressed() -> None:
    """Have kombu read nothing that is compressed: nobody here writes it, and a kilobyte may fill the memory."""
    for kind in compression.encoders():
        compression.register(compression.get_encoder(kind)[0], _not_read, kind)


def _not_read(_: object) -> NoReturn:
    raise NotOursError


def _queue(message: Message) -> str:
    return str((message.delivery_info or {}).get("routing_key") or "a queue")


def _is_made_doorbell(message: Message) -> bool:
    """Whether there is a doorbell in it, of which then nothing else is left."""
    queue, content = _queue(message), message.body
    if message.content_type != "application/json" or message.content_encoding != "utf-8" or message.errors:
        return False
    try:
        made = amqp_doorbell(queue, message.headers, content.encode() if isinstance(content, str) else bytes(content))
    except NotOursError:
        return False
    message.headers, message.body = made["headers"], made["body"].encode()
    message.properties = {"correlation_id": made["properties"]["correlation_id"]}
    return True
