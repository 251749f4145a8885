"""QoS: which doorbells are in hand. Only this process knows: the bell rings again for those that die with it."""

from __future__ import annotations

import logging
from collections import Counter
from typing import TYPE_CHECKING, Any

from kombu.transport import virtual

from dispatcher.tasks.transport.liveness import LIVENESS

if TYPE_CHECKING:
    from dispatcher.tasks.transport.channel import Channel

logger = logging.getLogger(__name__)


class QoS(virtual.QoS):
    """kombu's bookkeeping without its two transactions in Redis for each message.

    Overrides, of kombu 5.7: ack, reject, restore_unacked; reads _delivered and _dirty.
    """

    channel: Channel

    @property
    def room(self) -> int | None:
        """How many more doorbells may be taken now; None for any number."""
        room: int | None = self.can_consume_max_estimate()
        return room

    def in_hand(self) -> Counter[str]:
        """How many doorbells of each list were taken and neither acknowledged nor rejected yet."""
        return Counter(
            message._raw.key
            for tag, message in self._delivered.items()
            if tag not in self._dirty and hasattr(message._raw, "key")
        )

    def ack(self, delivery_tag: str) -> None:
        LIVENESS.note()
        super().ack(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        LIVENESS.note()
        super().reject(delivery_tag, requeue=requeue)

    def restore_unacked(self) -> list[Any]:
        """Give back what is in hand. The bell rings for what Redis does not take, so nothing has to be kept."""
        self._flush()
        messages = list(self._delivered.values())
        self._delivered.clear()
        if messages:
            try:
                self.channel.give_back(messages)
            except (*self.channel.connection_errors, self.channel.ResponseError) as error:
                logger.info(
                    "%d doorbells are left to the bell, since they cannot be given back: %s", len(messages), error
                )
        return []
