"""ClickHouse: events as rows of a table, each batch of them in one insert with a token that tells repeats apart."""

from dispatcher.tasks.destinations.clickhouse.destination import ClickHouse

__all__ = ["ClickHouse"]
