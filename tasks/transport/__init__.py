"""The broker's channel: kombu's for Redis, made for doorbells. These may be lost: the batch store has the truth."""

from tasks.transport.channel import Channel, Transport, serves
from tasks.transport.connection import Amqp
from tasks.transport.pulse import PULSE, Pulse
from tasks.transport.refusals import REFUSALS

__all__ = ["PULSE", "REFUSALS", "Amqp", "Channel", "Pulse", "Transport", "serves"]
