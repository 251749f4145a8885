"""A Crazy Egg that enforces the documented contract of its tracking API. It refuses requests with "poison" with 400.

A conversion has no id, so ``taken`` counts by the user. The status of a refusal is not documented.
https://support.crazyegg.com/knowledge-base/crazy-egg-customer-facing-tracking-api
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from tests.support.vendor import POISON, Call, Reply, Vendor

API_KEY: Final = "hidden-api-key"

Text = Annotated[str, Meta(min_length=1)]


class _Conversion(msgspec.Struct, forbid_unknown_fields=True):
    goal_name: Text = msgspec.field(name="goalName")
    user: Text = msgspec.field(name="userIdentifier")
    url: Annotated[str, Meta(pattern="^https?://")] | None = None
    value: int | float | None = None
    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] | None = None


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    conversions: Annotated[list[_Conversion], Meta(min_length=1, max_length=25)] = msgspec.field(name="goalConversions")


class CrazyEggVendor(Vendor):
    """Takes goal conversions of one site."""

    def answer(self, call: Call) -> Reply:
        if call.path != "/api/v1" or call.headers.get("authorization") != f"key {API_KEY}":
            return Reply(status=401)
        try:
            body = msgspec.json.decode(call.body, type=_Body)
        except msgspec.MsgspecError:
            return Reply(status=400)
        if POISON in call.text:
            return Reply(status=400)
        return Reply(taken=[one.user for one in body.conversions])
