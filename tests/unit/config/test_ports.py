"""Ports: what one machine runs without a setting listens beside one another."""

from __future__ import annotations

from dispatcher import config
from dispatcher.collector.server import METRICS_BEHIND


def test_no_two_parts_have_the_same_port_by_default() -> None:
    settings = config.load()
    ports = [settings.collector.port, settings.collector.port + METRICS_BEHIND, settings.board.port]
    assert len(set(ports)) == len(ports)
