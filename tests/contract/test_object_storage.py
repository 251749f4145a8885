"""Object storage passes the contract of events, and writes each line once, whatever becomes of requests and workers."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard

from dispatcher.destinations.base import Batch
from dispatcher.event import Event, encode
from dispatcher.tasks.destinations.object_storage import ObjectStorage
from dispatcher.tasks.destinations.object_storage.log_object import LogObject, Span, read_spans
from dispatcher.tasks.testing import CUT, SILENT, Call, EventsContract, Reply, Vendor, batch_of, fates
from dispatcher.tasks.testing.contract.subject import errors_of
from tests.support.vendors.s3 import BUCKET, S3Vendor, error_reply

_KEYS = {"access_key_id": "AKIAHIDDEN", "secret_access_key": "hidden/secret+key"}


class TestObjectStorage(EventsContract):
    type = "object_storage"
    credentials = ()
    # A signature of AWS has its time in it.
    volatile_headers = frozenset({"authorization", "x-amz-date"})

    def options(self, url: str) -> dict[str, Any]:
        return {
            "url": f"s3://{BUCKET}/site",
            "endpoint": url,
            "region": "eu-central-1",
            "credentials": _KEYS,
            "wait_seconds": 0,
        }

    def vendor(self) -> Vendor:
        return S3Vendor()

    def poisoned(self, event: Event) -> None:
        return None

    def events_in(self, call: Call, events: Sequence[Event]) -> int:
        if call.method != "PUT":
            return 0
        text = gzip.decompress(call.body).decode()
        return sum(event.id in text for event in events)

    def repeatable_parts(self, call: Call) -> tuple[object, ...]:
        return call.method, call.path, call.body

    def test_another_worker_sends_the_same_request(self, server: Vendor) -> None:
        """It looks for what is there first."""
        assert isinstance(server, S3Vendor)
        events = self.events(3)
        with self.open_destination(server.url) as destination:
            server.script = [CUT]
            assert set(fates(destination.deliver(batch_of(events)))) == {"transient"}
        with self.open_destination(server.url) as destination:
            assert set(fates(destination.deliver(batch_of(events, maybe_delivered=True)))) == {"delivered"}
        first, again = server.puts
        assert self.repeatable_parts(again) == self.repeatable_parts(first)

    test_a_retry_sends_the_same_request = test_another_worker_sends_the_same_request

    @pytest.mark.parametrize(
        ("status", "code", "fate"),
        [
            (301, "PermanentRedirect", "setup"),
            (400, "ExpiredToken", "setup"),
            (400, "RequestTimeout", "transient"),
            (403, "AccessDenied", "setup"),
            (403, "RequestTimeTooSkewed", "setup"),
            (404, "NoSuchBucket", "setup"),
            (409, "OperationAborted", "transient"),
            (429, "TooManyRequests", "throttled"),
            (500, "InternalError", "transient"),
            (503, "SlowDown", "throttled"),
        ],
    )
    def test_an_answer_of_s3_has_its_outcome(
        self, status: int, code: str, fate: str, destination: ObjectStorage, server: Vendor
    ) -> None:
        server.always = error_reply(status, code)
        outcomes = destination.deliver(batch_of(self.events(2)))
        assert fates(outcomes) == [fate, fate], errors_of(outcomes)
        assert f"s3://{BUCKET}/site" in errors_of(outcomes)
        if status != 301:
            assert code in errors_of(outcomes)

    @pytest.mark.parametrize("fault", [CUT, SILENT], ids=["cut", "silent"])
    def test_no_answer_leaves_events_waiting(self, fault: Reply, server: Vendor) -> None:
        server.always = fault
        with self.open_destination(server.url, timeout_seconds=0.3) as destination:
            outcomes = destination.deliver(batch_of(self.events(2)))
        assert fates(outcomes) == ["transient"] * 2
        assert "0.3 s" in errors_of(outcomes)

    def test_an_unknown_host_is_a_setup_error(self) -> None:
        with self.open_destination("http://dispatcher-contract.invalid") as destination:
            assert fates(destination.deliver(batch_of(self.events(1)))) == ["setup"]

    def test_each_hour_has_an_object_of_its_own(self, destination: ObjectStorage, server: S3Vendor) -> None:
        early, late = _at(self.event(1), hour=9), _at(self.event(2), hour=10)
        assert fates(destination.deliver(batch_of([late, early]))) == ["delivered"] * 2
        assert [name.rpartition("/")[0] for name in sorted(server.objects)] == [
            "site/dt=2026-03-04/hour=09",
            "site/dt=2026-03-04/hour=10",
        ]
        assert _ids(server) == [early.id, late.id]

    def test_batches_that_went_together_are_known_when_they_come_apart(
        self, destination: ObjectStorage, server: S3Vendor
    ) -> None:
        first, second, third = (_batch(self.events(3), name) for name in ("one", "two", "three"))
        assert _fates_of(destination, first, second) == ["delivered"] * 6
        for repeat in (replace(first, maybe_delivered=True), replace(second, attempt=1)):
            with self.open_destination(server.url) as other:
                assert fates(other.deliver(repeat)) == ["delivered"] * 3
        assert len(server.objects) == 1
        # Beside one that is new.
        with self.open_destination(server.url) as other:
            assert _fates_of(other, replace(first, attempt=2), third) == ["delivered"] * 6
        assert len(_ids(server)) == len(set(_ids(server))) == 9

    def test_a_batch_in_parts_writes_what_is_missing(self, destination: ObjectStorage, server: S3Vendor) -> None:
        events = self.events(10)
        whole = _batch(events, "one")
        destination.deliver(replace(whole, payloads=whole.payloads[:6]))
        again = replace(whole, maybe_delivered=True)
        assert fates(destination.deliver(replace(again, payloads=whole.payloads[:5]))) == ["delivered"] * 5
        assert fates(destination.deliver(replace(again, payloads=whole.payloads[5:], first=5))) == ["delivered"] * 5
        assert sorted(_ids(server)) == sorted(event.id for event in events)

    def test_an_hour_that_fails_brings_the_batch_back_and_no_line_twice(
        self, destination: ObjectStorage, server: S3Vendor
    ) -> None:
        events = [_at(self.event(number), hour=hour) for number, hour in enumerate((9, 10, 9))]
        batch = _batch([*events, b"no event"], "one")
        server.fails_for = "hour=10"
        assert fates(destination.deliver(batch)) == ["transient"] * 4
        server.fails_for = None
        assert fates(destination.deliver(replace(batch, attempt=1))) == ["delivered"] * 3 + ["undecodable"]
        assert _ids(server) == [events[0].id, events[2].id, events[1].id]
        assert len(server.puts) == 3

    def test_without_the_right_to_list_repeats_are_written_again(self, server: S3Vendor) -> None:
        with self.open_destination(server.url, check_repeats=False) as destination:
            batch = _batch(self.events(3), "one")
            for attempt in range(2):
                assert fates(destination.deliver(replace(batch, attempt=attempt))) == ["delivered"] * 3
        assert [call.method for call in server.calls] == ["PUT"] * 2
        assert len(server.objects) == 1

    def test_light_traffic_waits_for_the_end_of_its_window(self, server: S3Vendor) -> None:
        with self.open_destination(server.url, wait_seconds=60) as destination:
            early = replace(_batch(self.events(2), "one"), put_at=600.0, waited_seconds=10.0)
            outcomes = destination.deliver(early)
            assert fates(outcomes) == ["rate_limited"] * 2
            assert {getattr(outcome, "seconds", None) for outcome in outcomes} == {50.0}
            late = replace(_batch(self.events(2), "two"), put_at=659.0, waited_seconds=1.0)
            due = replace(early, waited_seconds=60.0)
            assert _fates_of(destination, due, late) == ["delivered"] * 4
        assert len(server.objects) == 1

    def test_much_traffic_does_not_wait(self, server: S3Vendor) -> None:
        with self.open_destination(server.url, wait_seconds=60) as destination:
            large = [self.oversized(event, 3_000_000) for event in self.events(3)]
            batch = replace(_batch([event for event in large if event], "one"), put_at=600.0, waited_seconds=0.0)
            assert fates(destination.deliver(batch)) == ["delivered"] * 3

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"url": "events"}, "s3://bucket"),
            ({"url": "ftp://host/events"}, "s3://bucket"),
            ({"url": "s3://user:hidden-word@bucket/x"}, "credentials"),
            ({"url": "file:///"}, "file:///directory"),
            ({"url": "gs://bucket/x"}, "endpoint"),
            ({"url": "file:///srv/events", "endpoint": None}, "no credentials"),
        ],
        ids=["no url", "ftp", "password", "root", "endpoint", "directory"],
    )
    def test_what_does_not_fit_is_refused(self, change: dict[str, Any], words: str, server: Vendor) -> None:
        given = {"region": None} if change.get("url", "").startswith("file") else {}
        with pytest.raises(ValueError, match=words) as wrong:
            ObjectStorage.Options.model_validate({**self.options(server.url), **given, **change})
        assert "hidden-word" not in str(wrong.value)


def test_a_directory_takes_objects_and_knows_them_again(tmp_path: Path) -> None:
    directory = tmp_path / "lake of events"
    events = TestObjectStorage().events(3)
    for compression in ("gzip", "zstd"):
        options = {"url": f"{directory.as_uri()}/{compression}", "compression": compression, "wait_seconds": 0}
        destination = ObjectStorage("lake", ObjectStorage.Options.model_validate(options))
        batch = _batch(events, "one")
        assert fates(destination.deliver(batch)) == ["delivered"] * 3
        assert (
            _fates_of(destination, replace(batch, maybe_delivered=True), _batch(events[:0], "two")) == ["delivered"] * 3
        )
        (path,) = (directory / compression).rglob("*.log.*")
        assert path.parent.parent.name.startswith("dt=")
        assert _lines(path.read_bytes()) == 3


def test_a_note_of_more_batches_than_usual_is_read_in_two_steps() -> None:
    spans = [Span(number.to_bytes(8, "big"), 0, number + 1) for number in range(3000)]
    made = LogObject(folder="dt=2026-03-04", began="000000", lines=[b"{}"], spans=spans)
    for compression in ("gzip", "zstd"):
        name, packed = made.name(compression), made.pack(compression)
        part = packed[-8192:] if compression == "zstd" else packed[:8192]
        assert read_spans(name, part) is None
        assert read_spans(name, packed) == spans
        assert _lines(packed) == 1
        assert made.pack(compression) == packed


def test_an_object_of_somebody_else_has_no_note() -> None:
    for text in (b"", b"x", gzip.compress(b"{}\n"), b"\x1f\x8b\x08\x04" + b"\xff" * 40):
        assert read_spans("dt=2026-03-04/a.log.gz", text) == []
    for text in (b"", b"x", zstandard.compress(b"{}\n" * 1000), b"\0" * 40):
        assert read_spans("dt=2026-03-04/a.log.zst", text) == []


def _at(event: Event, *, hour: int) -> Event:
    return msgspec.structs.replace(event, timestamp=datetime(2026, 3, 4, hour, tzinfo=UTC) + timedelta(seconds=1))


def _batch(events: Sequence[Event | bytes], name: str) -> Batch:
    payloads = tuple(event if isinstance(event, bytes) else encode(event) for event in events)
    return Batch(destination="lake", id=name, payloads=payloads)


def _fates_of(destination: ObjectStorage, *batches: Batch) -> list[str]:
    return [fate for outcomes in destination.deliver_all(batches) for fate in fates(outcomes)]


def _ids(server: S3Vendor) -> list[str]:
    lines = [line for key in sorted(server.objects) for line in gzip.decompress(server.objects[key]).splitlines()]
    return [json.loads(line)["context"]["event_id"] for line in lines]


def _lines(packed: bytes) -> int:
    if packed.startswith(b"\x1f\x8b"):
        return zlib.decompress(packed, 31).count(b"\n")
    return zstandard.ZstdDecompressor().decompressobj().decompress(packed).count(b"\n")
