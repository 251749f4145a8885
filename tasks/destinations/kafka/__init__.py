"""Kafka: each event as a message of a topic, by an idempotent producer that waits for every replica."""

from dispatcher.tasks.destinations.kafka.destination import Kafka

__all__ = ["Kafka"]
