"""An Optimizely that enforces its Event API's documented contract.

An event is invalid if it breaks the types or required fields of https://api.optimizely.com/swagger/v1/events.json, if
it lacks entity_id or key, or if it holds "poison". A strict request with anything invalid in it gets 400. Any
other request gets 204, and is ignored if it is invalid.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from tests.support.vendor import POISON, Call, Reply, Vendor

ACCOUNT_ID: Final = "1887578053"

_MOST_BYTES: Final = 3_500_000

Text = Annotated[str, Meta(min_length=1)]
Scalar = str | int | float | bool


class _Attribute(msgspec.Struct, forbid_unknown_fields=True):
    type: Text
    value: Scalar
    entity_id: Text
    key: Text


class _Event(msgspec.Struct, forbid_unknown_fields=True):
    timestamp: Annotated[int, Meta(gt=1_000_000_000_000, lt=100_000_000_000_000)]
    uuid: Text
    entity_id: Text
    key: Text
    type: Text | msgspec.UnsetType = msgspec.UNSET
    revenue: Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)] | msgspec.UnsetType = msgspec.UNSET
    value: float | msgspec.UnsetType = msgspec.UNSET
    quantity: int | msgspec.UnsetType = msgspec.UNSET
    tags: dict[str, Scalar] | msgspec.UnsetType = msgspec.UNSET


class _Decision(msgspec.Struct, forbid_unknown_fields=True):
    campaign_id: str
    experiment_id: str | None
    variation_id: str | None


class _Snapshot(msgspec.Struct, forbid_unknown_fields=True):
    events: Annotated[list[_Event], Meta(min_length=1)]
    decisions: list[_Decision] = []


class _Visitor(msgspec.Struct, forbid_unknown_fields=True):
    visitor_id: Text
    snapshots: Annotated[list[_Snapshot], Meta(min_length=1)]
    attributes: list[_Attribute] = []
    session_id: str | msgspec.UnsetType = msgspec.UNSET


class _EventBatch(msgspec.Struct, forbid_unknown_fields=True):
    account_id: Text
    visitors: Annotated[list[_Visitor], Meta(min_length=1)]
    project_id: Text | msgspec.UnsetType = msgspec.UNSET
    anonymize_ip: bool = True
    enrich_decisions: bool = False
    client_name: str = ""
    client_version: str = ""


_decoder = msgspec.json.Decoder(_EventBatch)


class OptimizelyVendor(Vendor):
    """Takes events of one account; ``taken`` counts them by their uuid. Optimizely keeps one event per uuid."""

    def answer(self, call: Call) -> Reply:
        if (call.method, call.path) != ("POST", "/v1/events"):
            return Reply(status=404)
        if len(call.body) > _MOST_BYTES:
            return Reply(status=413)
        taken = _usable(call)
        if taken is None and call.headers.get("x-optimizely-strict") == "true":
            return Reply(status=400)
        return Reply(status=204, taken=taken or ())


def _usable(call: Call) -> list[str] | None:
    if call.headers.get("content-type", "").partition(";")[0] != "application/json" or POISON.encode() in call.body:
        return None
    try:
        batch = _decoder.decode(call.body)
    except msgspec.DecodeError:
        return None
    if batch.account_id != ACCOUNT_ID:
        return None
    return [event.uuid for visitor in batch.visitors for snapshot in visitor.snapshots for event in snapshot.events]
