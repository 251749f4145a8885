"""A destination's rate limit: from the settings, else slightly below its vendor's limit, else none."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher import config
from dispatcher.destinations.build import build_destinations
from dispatcher.store.rate_limit import SharedRate


def rate_of(kind: str, **table: Any) -> SharedRate | None:
    options = {"url": "http://127.0.0.1:1"} if kind == "webhook" else {}
    tables = {"one": {"type": kind, "events": ["*"], **options, **table}}
    settings = config.Settings.model_validate({"broker_url": "redis://127.0.0.1:1", "destinations": tables})
    destination = build_destinations(settings)["one"]()
    destination.close()
    rate = destination.rate
    assert rate is None or isinstance(rate, SharedRate)
    return rate


@pytest.mark.parametrize(
    ("table", "per_second", "burst"),
    [
        ({}, 38, 1),
        ({"rate": {"per_second": 0.5}}, 0.5, 1),
        ({"rate": {"burst": 10}}, 38, 10),
        ({"rate": {"per_second": 100, "burst": 3}}, 100, 3),
    ],
    ids=["none set", "rate", "burst", "both"],
)
def test_the_settings_win_over_the_vendors_limit(table: dict[str, Any], per_second: float, burst: int) -> None:
    rate = rate_of("sailthru", **table)
    assert rate is not None
    assert (rate.per_second, rate.burst) == (per_second, burst)


def test_without_a_limit_of_settings_or_vendor_there_is_none() -> None:
    assert rate_of("webhook") is None


def test_a_limit_in_the_settings_holds_for_any_type() -> None:
    assert rate_of("webhook", rate={"per_second": 7}) is not None
