"""Market: the stand-ins of all vendors in one process, and the settings that point a site at them.

``python -m tests.vendors.market FILE`` serves until its standard input ends, then writes into FILE what each took.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from operator import attrgetter
from pathlib import Path
from typing import Any, Final

from tests.support.kafka_brokers import KafkaBrokers
from tests.support.vendor import POISON
from tests.support.vendors import (
    clickhouse,
    crazy_egg,
    datadog,
    google,
    meta,
    new_relic,
    optimizely,
    otlp,
    s3,
    sailthru,
    segment,
    splunk,
    webhook,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stall:
    """One vendor.

    Args:
        make: Its stand-in, which has a ``url``.
        options: The destination's table, given the stand-in's URL.
        taken: How often the stand-in took each id.
        refuses: Whether it refuses bad events.
    """

    make: Callable[[], AbstractContextManager[Any]]
    options: Callable[[str], Mapping[str, Any]]
    taken: Callable[[Any], Mapping[str, int]] = attrgetter("taken")
    refuses: bool = True


def _google(url: str, **stream: str) -> Mapping[str, Any]:
    return {"endpoint": url, "api_secret": google.API_SECRET, **stream}


class _Brokers(KafkaBrokers):
    @property
    def url(self) -> str:
        return self.bootstrap


def _lines_in(bucket: s3.S3Vendor) -> Counter[str]:
    lines = b"".join(map(gzip.decompress, bucket.objects.values())).splitlines()
    return Counter(json.loads(line)["context"]["event_id"] for line in lines)


def _messages_in(brokers: KafkaBrokers) -> Counter[str]:
    return Counter(dict(message.headers())["id"].decode() for message in brokers.messages())


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
    "splunk_hec": Stall(
        make=lambda: splunk.SplunkVendor(acknowledges=True),
        options=lambda url: {"url": url, "token": splunk.TOKEN, "index": splunk.INDEX, "acknowledge": True},
    ),
    "otlp_logs": Stall(make=otlp.OtlpVendor, options=lambda url: {"url": url, "headers": {"api-key": otlp.KEY}}),
    "new_relic_events": Stall(
        make=new_relic.NewRelicVendor,
        options=lambda url: {
            "host": url,
            "account_id": new_relic.ACCOUNT_ID,
            "license_key": new_relic.LICENSE_KEY,
        },
    ),
    "datadog_logs": Stall(make=datadog.DatadogVendor, options=lambda url: {"host": url, "api_key": datadog.API_KEY}),
    "clickhouse": Stall(
        make=clickhouse.ClickHouseVendor,
        options=lambda url: {
            "url": url,
            "table": "site.events",
            "username": "site",
            "password": "hidden-password",
            "wait_seconds": 0,
        },
    ),
    "kafka": Stall(
        make=_Brokers,
        options=lambda url: {"bootstrap_servers": url, "topic": "events-1"},
        taken=_messages_in,
        refuses=False,
    ),
    "object_storage": Stall(
        make=s3.S3Vendor,
        options=lambda url: {
            "url": f"s3://{s3.BUCKET}/site",
            "endpoint": url,
            "region": "eu-central-1",
            "credentials": {"access_key_id": "AKIAHIDDEN", "secret_access_key": "hidden/secret+key"},
            "wait_seconds": 0,
        },
        taken=_lines_in,
        refuses=False,
    ),
}


def main(file: Path) -> None:
    """Print each vendor's URL, serve, and then write how often each vendor took each id."""
    with ExitStack() as stack:
        vendors = {name: stack.enter_context(stall.make()) for name, stall in STALLS.items()}
        print(json.dumps({name: vendor.url for name, vendor in vendors.items()}), flush=True)
        sys.stdin.read()
        file.write_text(json.dumps({name: stall.taken(vendors[name]) for name, stall in STALLS.items()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
