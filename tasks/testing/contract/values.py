"""Odd values in an event do no harm: no request is refused for them, no other event is held up, nothing is raised."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Final

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


class ValuesContract(Subject):
    """Tests of values that apps, browsers and proxies put into events."""

    def test_an_odd_amount_harms_no_event(self, destination: Destination[Any], server: Vendor) -> None:
        def change(event: Event, amount: Any) -> Event:
            amounts = dict.fromkeys(_AMOUNT_NAMES, amount)
            item = {"id": "a", "item_id": "a", "price": amount, "quantity": amount, "item_price": amount}
            lists = {"items": [item, amount], "products": [item, amount], "contents": [item, amount]}
            return with_data(event, **amounts, **lists, currency="EUR")

        self._deliver(destination, server, _AMOUNTS, change)

    def _deliver(
        self,
        destination: Destination[Any],
        server: Vendor,
        values: Sequence[Any],
        change: Callable[[Event, Any], Event],
    ) -> None:
        """Deliver an event with each value, all in one batch with good ones in between, and look at what is sent."""
        events = self.events(2 * len(values))
        for place, value in enumerate(values):
            events[2 * place] = change(events[2 * place], value)

        outcomes = list(destination.deliver(batch_of(events)))

        assert len(outcomes) == len(events)
        assert set(fates(outcomes[1::2])) == {"delivered"}, errors_of(outcomes)
        odd = [(value, fate) for value, fate in zip(values, fates(outcomes[::2]), strict=True)]
        assert [value for value, fate in odd if fate == TRANSFORM] == [], "no value is a mistake of the destination's"
        assert server.refused == 0, f"the destination refuses what the vendor would: {odd}"
        for call in server.calls:
            if call.headers.get("content-type", "").startswith("application/json"):
                json.loads(call.content, parse_constant=_check_number, parse_int=_check_number)


def _check_number(text: str) -> float:
    number = float(text)
    assert isfinite(number), f"readers of JSON refuse {text[:20]} as a number"
    return number
