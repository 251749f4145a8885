"""Market: the stand-ins of all vendors in one process, and the settings that point a site at them.

``python -m tests.vendors.market FILE`` serves until its standard input ends, then writes into FILE what each took.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.support.vendor import POISON, Vendor
from tests.support.vendors import crazy_egg, google, meta, optimizely, sailthru, segment, webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """One vendor.

    Args:
        make: Its stand-in.
        options: The destination's table, given the stand-in's URL.
    """

    make: Callable[[], Vendor]
    options: Callable[[str], Mapping[str, Any]]


def _google(url: str, **stream: str) -> Mapping[str, Any]:
    return {"endpoint": url, "api_secret": google.API_SECRET, **stream}


#: By the destination's type, which is also its name.
STALLS: Final[Mapping[str, Stall]] = {
    "segment": Stall(
        make=segment.SegmentVendor,
        options=lambda url: {"host": url, "write_key": segment.WRITE_KEY},
    ),
    "google_analytics": Stall(
        make=google.GoogleCollect,
        options=lambda url: _google(url, measurement_id=google.MEASUREMENT_ID),
    ),
    "firebase": Stall(
        make=lambda: google.GoogleCollect(stream="app"),
        options=lambda url: _google(url, firebase_app_id=google.FIREBASE_APP_ID),
    ),
    "google_tag_manager": Stall(make=google.ServerContainer, options=lambda url: {"container_url": url}),
    "meta_conversions": Stall(
        make=meta.MetaVendor,
        options=lambda url: {
            "host": url,
            "dataset_id": meta.DATASET_ID,
            "access_token": meta.ACCESS_TOKEN,
        },
    ),
    "optimizely": Stall(
        make=optimizely.OptimizelyVendor,
        options=lambda url: {
            "host": url,
            "account_id": optimizely.ACCOUNT_ID,
            "event_ids": {"shop.order.paid": "20001"},
            "strict": True,
        },
    ),
    # With the account's limit of 40 requests a second, 100 000 events would take three quarters of an hour.
    "sailthru": Stall(
        make=lambda: sailthru.SailthruVendor(requests_per_second=None),
        options=lambda url: {
            "host": url,
            "api_key": sailthru.API_KEY,
            "secret": sailthru.SECRET,
            "rate": {"per_second": 100_000.0, "burst": 1000},
        },
    ),
    # It gets no id and little of the data: each event has its own user here, and a bad event a goal that it refuses.
    "crazy_egg_goals": Stall(
        make=crazy_egg.CrazyEggVendor,
        options=lambda url: {
            "host": url,
            "api_key": crazy_egg.API_KEY,
            "mapping": [
                {"set": {"context.user_id": "{id}"}},
                {"when": {"data.note": POISON}, "name": POISON},
            ],
        },
    ),
    "webhook": Stall(
        make=webhook.WebhookVendor,
        options=lambda url: {"url": f"{url}/events", "secret": webhook.SECRET, "batch": True},
    ),
}


def main(file: Path) -> None:
    """Print each vendor's URL, serve, and then write how often each vendor took each id."""
    with ExitStack() as stack:
        vendors = {name: stack.enter_context(stall.make()) for name, stall in STALLS.items()}
        print(json.dumps({name: vendor.url for name, vendor in vendors.items()}), flush=True)
        sys.stdin.read()
        file.write_text(json.dumps({name: vendor.taken for name, vendor in vendors.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
