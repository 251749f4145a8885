"""Odd values in an event do no harm: no request is refused for them, no other event is held up, nothing is raised."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from types import MappingProxyType
from typing import Any, Final

import msgspec

from dispatcher.destinations.base import Destination
from dispatcher.event import Event
from dispatcher.outcomes import TRANSFORM
from dispatcher.tasks.testing.contract.subject import Subject, batch_of, errors_of, fates, with_data
from dispatcher.tasks.testing.vendor import Vendor

# Amounts as apps pass them: a Decimal is text in JSON.
_AMOUNTS: Final[tuple[Any, ...]] = (
    *("49.90", " 49.90 ", "1E+2", "-0.00", "NaN", "Infinity", "1e400", "1,234.50", "49,90", "1_000", "٤٩", ""),
    *(0, -0.0, 7, 10**30, -(10**400), 2**63, 1e300, True, None, [49.9], {"amount": 49.9}),
)
# Names under which vendors look for amounts.
_AMOUNT_NAMES: Final = (
    *("value", "price", "quantity", "total", "revenue", "discount", "shipping", "tax", "subtotal", "position"),
    *("net_revenue", "predicted_ltv", "num_items", "level", "score", "index", "amount"),
)
# Ids as apps and tables have them, and values that name nobody.
_IDS: Final[tuple[Any, ...]] = (
    *(0, 7, -1, 7.0, 7.5, -0.0, 1e22, 10**400, True, False, None, [7], {"id": 7}),
    *("", "  ", " 7 ", "ada lovelace", "größe", "null", "a\0b", "a\nb", "a\u2028b", "x" * 300),
)
# What browsers and proxies send in place of what they should, by its key in the context.
_DAMAGED_FIELDS: Final[Mapping[str, tuple[Any, ...]]] = MappingProxyType(
    {
        "fbc": ("fb.1.1698765432000.", "fb.1.1698765432000.Iw AR", "IwAR", "x" * 5_000, True, 7, {}),
        "fbp": ("fb.1.1596403881668.", "fb.1.x.1116446470", "fb.1.1596403881668.1\n", None, []),
        "client_id": ("GA1.1.", "GA1.1.x.1368477899", "0.0", "1.2\n3", "1." + "9" * 5_000, True, {}),
        "ga_session_id": ("GS1.1.", "GS2.1.s$o3", "deleted", "9" * 5_000, -1, 1.5, []),
        "ip": (
            *("::ffff:192.0.2.7", "fe80::1%eth0", "192.0.2.7:4711", "[2001:db8::7]:443", "192.0.2.7, 10.0.0.1"),
            *("unknown", "unknown, 10.0.0.1", "::", "192.0.2.7\0", "x" * 5_000, 7, {}),
        ),
        "agent": ("Mozilla/5.0\0", "Mozilla\r\nX-Other: 1", "\x1b[2J", "x" * 10_000, 7, []),
        "page": (
            *("http://", "https://ex ample/", "https://[::1", "javascript:alert(1)", "/a", 7, None),
            *("https://a.example/?fbclid=", "https://a.example/?fbclid=%00", "https://a.example/?" + "x" * 9_000),
        ),
        "referer": ("about:blank", "https://", "a\nb", "https://a.example/" + "x" * 9_000, {}),
        "email": ("ada", "ada@", "@", "a\0b@example.org", "x" * 5_000 + "@example.org", 7, []),
        "app_instance_id": ("none", "a\0b", True, {}),
        "traits": (
            *({name: "?"} for name in ("phone", "birthday", "gender", "firstName", "email")),
            *({"address": address} for address in ({"country": "Atlantis", "postalCode": "", "city": "1"}, "Paris", 7)),
        ),
    }
)
_DAMAGED: Final[tuple[dict[str, Any], ...]] = (
    *({key: value} for key, values in _DAMAGED_FIELDS.items() for value in values),
    *({"page": None, "path": path} for path in ("/a b/größe", "/a\0b", "/" * 9_000)),
    *({"page": None, "host": host} for host in ("a b", "a/../b", "[", "x" * 5_000)),
)


class ValuesContract(Subject):
    """Tests of values that apps, browsers and proxies put into events."""

    def complaints(self, server: Vendor) -> list[Any]:
        """What the stand-in found wrong in requests although it answered 2xx; by default it refuses such requests."""
        return []

    def test_an_odd_amount_harms_no_event(self, destination: Destination[Any], server: Vendor) -> None:
        def change(event: Event, amount: Any) -> Event:
            amounts = dict.fromkeys(_AMOUNT_NAMES, amount)
            item = {"id": "a", "item_id": "a", "price": amount, "quantity": amount, "item_price": amount}
            lists = {"items": [item, amount], "products": [item, amount], "contents": [item, amount]}
            return with_data(event, **amounts, **lists, currency="EUR")

        self._deliver(destination, server, _AMOUNTS, change)

    def test_an_odd_id_harms_no_event(self, destination: Destination[Any], server: Vendor) -> None:
        def change(event: Event, id_: Any) -> Event:
            ids = dict.fromkeys(("user_id", "username", "anonymous_id", "session", "client_id", "email"), id_)
            context = {**event.context, **ids}
            return msgspec.structs.replace(with_data(event, user_id=id_, username=id_, email=id_), context=context)

        self._deliver(destination, server, _IDS, change)

    def test_what_a_browser_has_damaged_is_left_out(self, destination: Destination[Any], server: Vendor) -> None:
        def change(event: Event, damaged: dict[str, Any]) -> Event:
            return msgspec.structs.replace(event, context={**event.context, **damaged})

        odd = self._deliver(destination, server, _DAMAGED, change)

        # Who passes events on as they are has them as large as they are.
        assert {fate for _, fate in odd} <= {"delivered", "oversized"}, odd

    def _deliver(
        self,
        destination: Destination[Any],
        server: Vendor,
        values: Sequence[Any],
        change: Callable[[Event, Any], Event],
    ) -> list[tuple[Any, str]]:
        """Deliver an event with each value, all in one batch with good ones in between, and look at what is sent.

        Returns:
            Each value, and what became of its event, in one word.
        """
        events = self.events(2 * len(values))
        for place, value in enumerate(values):
            events[2 * place] = change(events[2 * place], value)

        outcomes = list(destination.deliver(batch_of(events)))

        assert len(outcomes) == len(events)
        assert set(fates(outcomes[1::2])) == {"delivered"}, errors_of(outcomes)
        odd = [(value, fate) for value, fate in zip(values, fates(outcomes[::2]), strict=True)]
        assert [value for value, fate in odd if fate == TRANSFORM] == [], "no value is a mistake of the destination's"
        assert server.refused == 0, f"the destination refuses what the vendor would, or leaves it out: {odd}"
        assert self.complaints(server) == []
        for call in server.calls:
            if call.headers.get("content-type", "").startswith("application/json"):
                json.loads(call.content, parse_constant=_check_number, parse_int=_check_number)
        return odd


def _check_number(text: str) -> float:
    number = float(text)
    assert isfinite(number), f"readers of JSON refuse {text[:20]} as a number"
    return number
