"""Several destinations of one type: each has its own keys, allowlist and mapping."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from dispatcher import config
from dispatcher.destinations.preview import Previewer
from dispatcher.event import Event
from dispatcher.routing import Router

SETTINGS = """
[destinations.edge]
type = "google_analytics"
events = ["shop.*"]
measurement_id = "G-EDGE000001"
api_secret = "secret-of-edge"

[destinations.live]
type = "google_analytics"
events = ["shop.order.paid"]
measurement_id = "G-LIVE000001"
api_secret = "secret-of-live"
mapping = [{ name = "purchase" }]

[destinations.segment]
events = ["shop.order.paid"]
write_key = "key-of-ours"

[destinations.segment_partners]
type = "segment"
events = ["shop.order.paid"]
write_key = "key-of-partners"
"""


def test_two_tables_of_one_type_are_two_destinations(tmp_path: Path) -> None:
    file = tmp_path / "site.toml"
    file.write_text(SETTINGS)
    settings = config.load({"DISPATCHER_SETTINGS": str(file), "HOME": str(tmp_path)})
    event = Event(
        id="01890a5d-ac96-774b-bcce-b302099a8057",
        type="event",
        name="shop.order.paid",
        timestamp=datetime.now(UTC),
        data={"total": 9.5},
        context={"user_id": 7},
    )
    with Previewer(settings.destinations) as previewer:
        shown = {name: previewer.preview(name, event)["request"] for name in ("edge", "live")}
    assert {name: request["url"].partition("?")[2].partition("&")[0] for name, request in shown.items()} == {
        "edge": "measurement_id=G-EDGE000001",
        "live": "measurement_id=G-LIVE000001",
    }
    assert [request["body"]["events"][0]["name"] for request in shown.values()] == ["shop_order_paid", "purchase"]
    router = Router(settings)
    assert "live" not in router.route("shop.order.seen").destinations
    # What is meant for Segment goes to both workspaces.
    assert set(router.route("whatever", "identify").destinations) == {"segment", "segment_partners"}
