"""Transport: kombu's channel for Redis, made for doorbells. These may be lost: the batch store has the truth."""

from dispatcher.tasks.transport.channel import Channel, Transport, serves
from dispatcher.tasks.transport.connection import Amqp
from dispatcher.tasks.transport.liveness import LIVENESS, Liveness
from dispatcher.tasks.transport.refusals import REFUSALS

__all__ = ["LIVENESS", "REFUSALS", "Amqp", "Channel", "Liveness", "Transport", "serves"]
