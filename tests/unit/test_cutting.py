"""Cutting: what a relay does with payloads that it cannot read."""

from __future__ import annotations

from datetime import UTC, datetime

from dispatcher import config
from dispatcher.batches import EMIT
from dispatcher.cutting import BatchLimits, Cutter
from dispatcher.event import Event, encode
from dispatcher.identity import IdSource
from dispatcher.routing import Router


def test_an_event_nested_too_deep_to_be_read_is_buried_and_holds_up_no_other() -> None:
    good = encode(
        Event(id=IdSource().new(), name="shop.order.paid", timestamp=datetime.now(UTC), data={"order": 17}, context={})
    )
    deep = good.replace(b"shop.order.paid", b"shop.order.deep").replace(b"17", b"[" * 20_000 + b"]" * 20_000)
    settings = config.load()
    cutter = Cutter(Router(settings), dict.fromkeys(settings.destinations, BatchLimits(events=10, bytes=10_000)))
    stretch = cutter.begin("journal", 0, {})

    stretch.add([deep, good], [1_000, 2_000])
    stretch.finish()

    puts = {put.destination: put for put in stretch.puts}
    assert [letter.reason for letter in puts[EMIT].dead] == ["undecodable"]
    assert puts["tracking_log"].count == 1
