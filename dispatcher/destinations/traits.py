"""The traits of the types that come with dispatcher, of those that have any.

Web processes and relays read this, so it imports nothing that they do without.
"""

from __future__ import annotations

from typing import Final

from dispatcher.config.traits import Traits

_OWN_RECORD: Final = (
    "the tracking log is the site's own record of what happened and has no rules: take this away; "
    "what no record may hold is taken out of events by a processor, before they are kept"
)

TRACKING_LOG: Final = Traits(
    # A line costs less to write than an HTTP item. The log is the record of what happened, so its events wait for as
    # long as it takes; and a disk that is full for a moment must not hold it up for long.
    defaults={
        "batch_events": 1000,
        "batch_bytes": 2_000_000,
        "retry": {"max_seconds": 30.0, "max_age_seconds": "never"},
        "breaker": {"first_seconds": 1.0, "max_seconds": 10.0},
    },
    takes_all_events=True,
    refuses={
        "consent": _OWN_RECORD,
        "integration": _OWN_RECORD,
        "mapping": _OWN_RECORD,
        "privacy": _OWN_RECORD,
        "rate": "the tracking log is a file, to which nothing is sent at a rate: take this away",
    },
    # A log of the log's own events would double its lines.
    no_replay="is a tracking log: its lines would be there twice",
    paths={"path": "tracking.log"},
    log="path",
)

# As many of 1 KB as 475 KB hold: what a task, a claim and a request cost is shared by four times as many events as in
# the 100 of Segment's own libraries.
SEGMENT: Final = Traits(defaults={"batch_events": 400}, takes_direct_calls=True, needs=("write_key",), has_stub=True)

# A request holds a thousand.
META_CONVERSIONS: Final = Traits(defaults={"batch_events": 1000, "batch_bytes": 900_000})

# Its own Django settings say which events are transformed.
EVENT_ROUTING_BACKENDS: Final = Traits(takes_all_events=True)

# What goes together costs one request and one object. It is the log of what happened, as the tracking log is, so its
# events wait for as long as it takes.
OBJECT_STORAGE: Final = Traits(
    defaults={"batch_events": 20_000, "batch_bytes": 16_000_000, "retry": {"max_age_seconds": "never"}},
    takes_all_events=True,
    refuses={"rate": "object storage gets an object for each wait_seconds, not events at a rate: take this away"},
)

# Small inserts make small parts, which a server has to merge.
CLICKHOUSE: Final = Traits(defaults={"batch_events": 10_000, "batch_bytes": 8_000_000})

# The client packs messages together by itself.
KAFKA: Final = Traits(defaults={"batch_events": 1000, "batch_bytes": 2_000_000})

BROWSER: Final = Traits(
    in_browser=True,
    refuses={
        "rate": "pages take its events when they are open, not at a rate: take this away",
        "slots": "what waits for a visitor is in one place: take this away",
    },
    no_replay="takes events from browsers only, in which they happen but once",
)
