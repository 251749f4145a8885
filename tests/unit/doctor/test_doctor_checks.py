"""The doctor's checks: each finds its mistake, and is satisfied once that is fixed."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final
from urllib.parse import urlsplit

import pytest
from pydantic import SecretStr

import dispatcher
from dispatcher import config
from dispatcher.doctor import AREAS, Finding, disk, endpoint, examination, examine
from dispatcher.doctor.checks import (
    broker,
    collector,
    deliveries,
    destinations,
    flower,
    forgetting,
    installation,
    outbox,
    redis_server,
    settings,
    tracking_log,
    workers,
)
from dispatcher.doctor.clocks import skew
from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.finding import Check
from dispatcher.monitoring.intake import Intake, intake_directory
from dispatcher.outbox import Reader, find_outboxes
from dispatcher.store.counts import Breaker, Counts, Pause
from dispatcher.tasks.destinations.segment import SegmentOptions
from tests.support.outboxes import make_outbox

GB: Final = 1_000_000_000
NOW: Final = 1_800_000_000.0


@dataclass(frozen=True)
class Case:
    """A check, something that it finds fault with, and the same once it is mended. Both get the test's directory."""

    check: str
    bad: Callable[[Path], Finding]
    good: Callable[[Path], Finding]
    level: str = "error"

    def __str__(self) -> str:
        return self.check


def room(free_bytes: int, *, free_files: int | None = None) -> disk.Room:
    return disk.Room(free_bytes=free_bytes, total_bytes=10 * GB, free_files=free_files)


def worker(**facts: Any) -> workers.Worker:
    known = {"version": dispatcher.__version__, "time": NOW, "visibility_timeout": 600}
    return workers.Worker(name="w@host", queues=frozenset({"tracking_log"}), facts=known | facts)


def with_list(state_directory: Path, people: str) -> Path:
    (state_directory / "forgetting").mkdir(exist_ok=True)
    (state_directory / "forgetting" / "suppressed.json").write_text(people)
    return state_directory


def with_mode(path: Path, mode: int, text: str = "") -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def in_file(path: Path) -> Path:
    """A path that nobody can write to, not even root: below a file."""
    path.touch()
    return path / "below"


def segment(**options: Any) -> SegmentOptions:
    return SegmentOptions(**options)


def table(**values: Any) -> config.DestinationSettings:
    return config.load({}, {"destinations": {"segment": values}}).destinations["segment"]


def url(text: str) -> Any:
    return destinations.urls(segment(host=text))["host"]


def first(found: Iterator[Finding]) -> Finding:
    return next(iter(found))


OTLP: Final = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://ann:secret@collector:4318"}


def worst(found: Iterator[Finding]) -> Finding:
    return max(found, key=lambda finding: ["ok", "note", "warning", "error"].index(finding.level))


def of(check: Check, found: Iterator[Finding]) -> Finding:
    return next(finding for finding in found if finding.check == check.name)


def deployment(**overrides: Any) -> Deployment:
    return Deployment(config.load({}, overrides), environ={}, quick=True, flower=flower.ADDRESS)


def counted(outboxes: Path, *sources: str, refused: str = "not_json") -> Deployment:
    """A machine whose collector has had an event of the source web, and has refused a request."""
    intake = Intake()
    intake.requests[200] = 1
    intake.last_seen["web"] = NOW
    intake.attribute_refusal(refused, "", "https://old.example.org")
    directory = intake_directory(outboxes)
    directory.mkdir()
    (directory / "1.json").write_bytes(intake.encode())
    tables = {name: {"write_key": f"key-{name}"} for name in sources}
    return deployment(sources=tables, outbox={"directory": str(outboxes)}, collector={"port": 1})


def journal_root(tmp_path: Path, *, mode: int = 0o700) -> Path:
    """Outboxes with one that nobody writes to any more and in which three events wait."""
    root = tmp_path / "outbox"
    ended = make_outbox(root)
    for _ in range(3):
        ended.append(b"{}")
    ended.close()
    root.chmod(mode)
    return root


def damaged_root(tmp_path: Path) -> Path:
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "1-a-0.bin").write_bytes(b"torn")
    return tmp_path


def without_state(tmp_path: Path) -> Path:
    (tmp_path / "1-a").mkdir()
    (tmp_path / "1-a" / "0000000000.journal").write_bytes(b"frames")
    return tmp_path


def half_made(tmp_path: Path) -> Path:
    (tmp_path / f".{ended_pid()}-a").mkdir()
    return tmp_path


def ended_pid() -> int:
    pid = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(pid, 0)
    return pid


def relayed(check: Check, tmp_path: Path, *, by_relay: bool, external: bool = False) -> Finding:
    root = journal_root(tmp_path)
    readers = [Reader(path) for path in find_outboxes(root)] if by_relay else []
    try:
        return of(check, outbox.relays(root, external=external, max_wait_seconds=0))
    finally:
        for reader in readers:
            reader.close()


def refused(number: int) -> Finding:
    found = outbox.OutboxSurvey(name="1-a", pid=1, alive=True, waiting=0, bytes=0, disk_bytes=0, refused=number)
    return outbox.refused([found])


def counts(**values: Any) -> Counts:
    return Counts(**{"accepted": values.get("queued", 0) + values.get("dead", 0), **values})


REDIS_INFO: Final = {
    "redis_version": "7.0.15",
    "redis_mode": "standalone",
    "role": "master",
    "aof_enabled": "1",
    "maxmemory_policy": "noeviction",
    "used_memory": "10",
    "maxmemory": "100",
    "connected_clients": "7",
}


def info(**values: str) -> Mapping[str, str]:
    return REDIS_INFO | values


def some(finding: Finding | None) -> Finding:
    assert finding is not None
    return finding


def clock(off: float) -> Finding:
    return skew(redis_server.CLOCK, "Redis", there=NOW + off, asked=NOW, answered=NOW)


CASES: Final = [
    # Settings
    Case(
        "settings.valid",
        lambda tmp: settings.read_settings({"DISPATCHER_OUTBOX__MAX_BITES": "1"})[1][0],
        lambda tmp: settings.read_settings({"DISPATCHER_OUTBOX__MAX_BYTES": "100000000"})[1][0],
    ),
    Case(
        "settings.opentelemetry",
        lambda _: worst(settings.opentelemetry({**OTLP, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})),
        lambda _: worst(settings.opentelemetry(OTLP)),
        level="note",
    ),
    Case(
        "settings.strict",
        lambda tmp: of(settings.STRICT, settings.check(deployment(environment="production", strict=True))),
        lambda tmp: of(settings.STRICT, settings.check(deployment(environment="production", strict=False))),
        level="warning",
    ),
    Case(
        "settings.environment",
        lambda tmp: of(settings.ENVIRONMENT, settings.check(deployment(destinations__segment__write_key="k"))),
        lambda tmp: of(
            settings.ENVIRONMENT,
            settings.check(deployment(environment="production", destinations__segment__write_key="k")),
        ),
        level="warning",
    ),
    Case(
        "settings.broker",
        lambda tmp: of(settings.BROKER, settings.check(deployment(environment="production"))),
        lambda tmp: of(settings.BROKER, settings.check(deployment(broker_url="redis://redis.internal/0"))),
        level="warning",
    ),
    Case(
        "settings.readable",
        lambda tmp: settings.readable(with_mode(tmp / "s.toml", 0o644, '[destinations.segment]\nwrite_key = "k"')),
        lambda tmp: settings.readable(with_mode(tmp / "s.toml", 0o640, '[destinations.segment]\nwrite_key = "k"')),
    ),
    Case(
        "settings.readable",
        lambda tmp: settings.readable(with_mode(tmp / "environment", 0o644, "DISPATCHER_BROKER_URL=redis://:hush@h/0")),
        lambda tmp: settings.readable(with_mode(tmp / "environment", 0o640, "DISPATCHER_BROKER_URL=redis://:hush@h/0")),
    ),
    Case(
        "settings.readable",
        lambda tmp: settings.readable(with_mode(tmp / "environment", 0o644, "FLOWER_BASIC_AUTH=ops:hush")),
        lambda tmp: settings.readable(with_mode(tmp / "environment", 0o644, "DISPATCHER_ENV=production")),
    ),
    Case(
        "settings.writable",
        lambda tmp: settings.writable(with_mode(tmp / "s.toml", 0o666)),
        lambda tmp: settings.writable(with_mode(tmp / "s.toml", 0o644)),
    ),
    # Installation
    Case(
        "installation.package",
        lambda _: installation.package("`import dispatcher` finds another package"),
        lambda _: installation.package(None),
    ),
    Case(
        "forgetting.list",
        lambda directory: forgetting.readable(with_list(directory, "{")),
        lambda directory: forgetting.readable(with_list(directory, "[]")),
    ),
    Case(
        "forgetting.deletion",
        lambda _: forgetting.deletion("new_relic", "never", ""),
        lambda _: forgetting.deletion("segment", "on_request", ""),
        level="note",
    ),
    Case(
        "installation.distribution",
        lambda _: installation.distribution("1.0"),
        lambda _: installation.distribution(None),
        level="warning",
    ),
    Case(
        "installation.versions",
        lambda _: next(installation.versions({"redis": "7.2.0"})),
        lambda _: next(installation.versions({"redis": "7.2.1"})),
    ),
    # Redis
    Case("redis.latency", lambda _: redis_server.slow(0.3, 0.5), lambda _: redis_server.slow(0.001, 0.5)),
    Case(
        "redis.loading",
        lambda _: redis_server.loading(info(loading="1")),
        lambda _: redis_server.loading(info(loading="0")),
        level="warning",
    ),
    Case(
        "redis.version",
        lambda _: redis_server.version(info(redis_version="6.0.16")),
        lambda _: redis_server.version(info(redis_version="6.2.14")),
    ),
    Case(
        "redis.mode",
        lambda _: redis_server.server_mode(info(redis_mode="cluster"), is_broker=True),
        lambda _: redis_server.server_mode(info()),
    ),
    Case(
        "redis.persistence",
        lambda _: redis_server.persistence(info(aof_enabled="0"), {"save": ""}),
        lambda _: redis_server.persistence(info(), {"appendfsync": "everysec"}),
    ),
    Case(
        "redis.writes",
        lambda _: redis_server.writes(info(aof_last_write_status="err"), {}),
        lambda _: redis_server.writes(info(aof_last_write_status="ok"), {}),
    ),
    Case(
        "redis.eviction",
        lambda _: redis_server.eviction(info(maxmemory_policy="allkeys-lru")),
        lambda _: redis_server.eviction(info()),
    ),
    Case(
        "redis.memory",
        lambda _: redis_server.memory(info(used_memory="95")),
        lambda _: redis_server.memory(info(used_memory="10")),
    ),
    Case(
        "redis.clients",
        lambda _: some(redis_server.clients(info(connected_clients="90"), {"maxclients": "100"})),
        lambda _: some(redis_server.clients(info(connected_clients="9"), {"maxclients": "100"})),
        level="warning",
    ),
    Case("redis.clock", lambda _: clock(31), lambda _: clock(0.5), level="warning"),
    Case(
        "redis.encryption",
        lambda _: redis_server.encryption("rediss://redis.internal/0?ssl_cert_reqs=none"),
        lambda _: redis_server.encryption("rediss://redis.internal/0"),
        level="warning",
    ),
    Case(
        "redis.login",
        lambda _: redis_server.login("redis://redis.internal/0"),
        lambda _: redis_server.login("redis://:password@redis.internal/0"),
        level="warning",
    ),
    Case(
        "redis.disk",
        lambda tmp: redis_server.disk(tmp, room(GB // 10)),
        lambda tmp: redis_server.disk(tmp, room(5 * GB)),
    ),
    # Broker
    Case(
        "broker.encryption",
        lambda _: broker.encryption("amqp://u:p@rabbit.internal//"),
        lambda _: broker.encryption("amqps://u:p@rabbit.internal//"),
        level="warning",
    ),
    # Outbox
    Case("outbox.directory", lambda tmp: outbox.directory(in_file(tmp / "file")), outbox.directory),
    Case("outbox.in_the_way", lambda tmp: outbox.in_the_way(in_file(tmp / "file")), outbox.in_the_way),
    Case("outbox.file_system", lambda tmp: outbox.local_disk(tmp, "nfs4"), lambda tmp: outbox.local_disk(tmp, "ext4")),
    Case(
        "outbox.permissions",
        lambda tmp: outbox.permissions(journal_root(tmp, mode=0o755)),
        lambda tmp: outbox.permissions(journal_root(tmp)),
    ),
    Case(
        "outbox.room",
        lambda tmp: outbox.enough_room(tmp, room(GB // 10), wanted=2 * GB),
        lambda tmp: outbox.enough_room(tmp, room(3 * GB), wanted=2 * GB),
    ),
    Case("outbox.storage", lambda _: outbox.storage("memory"), lambda _: outbox.storage("disk")),
    Case("outbox.filling", lambda _: outbox.filling(95, 100), lambda _: outbox.filling(10, 100)),
    Case("outbox.refused", lambda _: refused(3), lambda _: refused(0)),
    Case(
        "outbox.relayed",
        lambda tmp: relayed(outbox.RELAYED, tmp, by_relay=False),
        lambda tmp: relayed(outbox.RELAYED, tmp, by_relay=True),
    ),
    Case(
        "outbox.relay",
        lambda tmp: relayed(outbox.RELAY, tmp, by_relay=False, external=True),
        lambda tmp: relayed(outbox.RELAY, tmp, by_relay=True, external=True),
    ),
    Case(
        "outbox.damaged",
        lambda tmp: outbox.damaged(damaged_root(tmp)),
        outbox.damaged,
        level="warning",
    ),
    # Destinations
    Case(
        "destinations.any",
        lambda _: first(destinations.check(deployment(destinations__tracking_log__enabled=False, **NO_SEGMENT))),
        lambda _: first(destinations.check(deployment(**NO_SEGMENT))),
    ),
    Case(
        "destinations.allowlist",
        lambda _: destinations.allowlist("segment", table(events=[])),
        lambda _: destinations.allowlist("segment", table(events=["shop.*"])),
        level="warning",
    ),
    Case(
        "destinations.credentials",
        lambda _: worst(destinations.credentials("segment", table(), segment(write_key="changeme"))),
        lambda _: worst(destinations.credentials("segment", table(), segment(write_key="k1"))),
    ),
    Case(
        "destinations.complete",
        lambda _: worst(destinations.missing_settings("ads", table(type="meta_conversions", dataset_id="1234567890"))),
        lambda _: worst(destinations.missing_settings("log", table(type="tracking_log", path="/tmp/tracking.log"))),
    ),
    Case(
        "destinations.certificate",
        lambda _: destinations.validity("h", {"notAfter": "Jan 20 00:00:00 2027 GMT"}, now=NOW),
        lambda _: destinations.validity("h", {"notAfter": "Jan 20 00:00:00 2028 GMT"}, now=NOW),
        level="warning",
    ),
    Case(
        "destinations.encryption",
        lambda _: destinations.encryption("segment", "host", url("http://api.segment.io")),
        lambda _: destinations.encryption("segment", "host", url("https://api.segment.io")),
        level="warning",
    ),
    Case(
        "destinations.lease",
        lambda _: first(destinations.lease("segment", table(lease_seconds=13), segment())),
        lambda _: first(destinations.lease("segment", table(lease_seconds=26), segment())),
    ),
    # Tracking log
    Case(
        "log.writable",
        lambda tmp: tracking_log.writable(in_file(tmp / "file"), "VARIABLE"),
        lambda tmp: tracking_log.writable(tmp / "logs" / "tracking.log", "VARIABLE"),
    ),
    Case(
        "log.file_system",
        lambda tmp: tracking_log.local_disk(tmp / "t.log", "VARIABLE", "nfs"),
        lambda tmp: tracking_log.local_disk(tmp / "t.log", "VARIABLE", "xfs"),
        level="warning",
    ),
    Case(
        "log.room",
        lambda tmp: tracking_log.enough_room(tmp, room(1000)),
        lambda tmp: tracking_log.enough_room(tmp, room(5 * GB)),
    ),
    Case(
        "log.rotation",
        lambda tmp: tracking_log.rotation(tmp / "t.log", "log", 1000, is_rotated=False),
        lambda tmp: tracking_log.rotation(tmp / "t.log", "log", 100_000_000, is_rotated=False),
        level="warning",
    ),
    Case(
        "log.logrotate",
        lambda tmp: tracking_log.logrotate_options(tmp, "daily compress copytruncate"),
        lambda tmp: tracking_log.logrotate_options(tmp, "daily compress delaycompress create"),
    ),
    Case(
        "log.permissions",
        lambda tmp: tracking_log.permissions(with_mode(tmp / "t.log", 0o646)),
        lambda tmp: tracking_log.permissions(with_mode(tmp / "t.log", 0o640)),
    ),
    # Workers
    Case(
        "workers.answer",
        lambda _: first(workers.check_answers([], deployment())),
        lambda _: first(workers.check_answers([worker()], deployment())),
    ),
    Case(
        "workers.queues",
        lambda _: worst(workers.queues([worker()], ["tracking_log", "segment"])),
        lambda _: worst(workers.queues([worker()], ["tracking_log"])),
    ),
    Case(
        "workers.version",
        lambda _: workers.version(worker(version="0.0.1")),
        lambda _: workers.version(worker()),
        level="warning",
    ),
    Case(
        "workers.clock",
        lambda _: of(workers.CLOCK, workers.check_answers([worker(time=time.time() - 3600)], deployment())),
        lambda _: of(workers.CLOCK, workers.check_answers([answered_now()], deployment())),
        level="warning",
    ),
    Case(
        "workers.visibility",
        lambda _: workers.visibility("w@host", 600, 900),
        lambda _: workers.visibility("w@host", 600, 60),
        level="warning",
    ),
    Case(
        "workers.refused",
        lambda _: workers.refused("w@host", {"segment": 3}),
        lambda _: workers.refused("w@host", {}),
        level="warning",
    ),
    Case(
        "workers.others",
        lambda _: workers.others([worker(), workers.Worker(name="x", queues=frozenset({"celery"}))], [worker()]),
        lambda _: workers.others([worker()], [worker()]),
        level="warning",
    ),
    # Deliveries
    Case(
        "deliveries.ledger",
        lambda _: first(deliveries.check_counts("log", Counts(accepted=2, delivered=1), now=NOW)),
        lambda _: first(deliveries.check_counts("log", Counts(accepted=2, delivered=2), now=NOW)),
    ),
    Case(
        "deliveries.waiting",
        lambda _: deliveries.waiting("log", counts(queued=1, oldest_ms=int((NOW - 601) * 1000)), NOW),
        lambda _: deliveries.waiting("log", counts(queued=1, oldest_ms=int((NOW - 2) * 1000)), NOW),
        level="warning",
    ),
    Case(
        "deliveries.unserved",
        lambda _: first(deliveries.unserved({"old": counts(queued=499)}, disabled=frozenset())),
        lambda _: first(deliveries.unserved({"old": counts(dead=2)}, disabled=frozenset())),
    ),
    Case(
        "deliveries.breaker",
        lambda _: deliveries.breaker("segment", Counts(breaker=Breaker(state="open", cause="setup")), NOW),
        lambda _: deliveries.breaker("segment", Counts(), NOW),
    ),
    Case(
        "deliveries.paused",
        lambda _: deliveries.paused("segment", Counts(pause=Pause(since_ms=int(NOW * 1000))), NOW),
        lambda _: deliveries.paused("segment", Counts(), NOW),
        level="warning",
    ),
    Case(
        "deliveries.dead",
        lambda _: deliveries.dead("segment", counts(dead=2, dead_by_reason={"oversized": 2})),
        lambda _: deliveries.dead("segment", counts()),
        level="warning",
    ),
    Case(
        "deliveries.dead_room",
        lambda _: deliveries.room("segment", counts(dead=2, dead_bytes=85, dead_limit_bytes=100)),
        lambda _: deliveries.room("segment", counts(dead=2, dead_bytes=80, dead_limit_bytes=100)),
        level="warning",
    ),
    # Collector
    Case(
        "collector.sources",
        lambda _: first(collector.check(deployment(collector={"enabled": True}))),
        lambda _: first(collector.check(deployment(sources={"web": {"write_key": "k1"}}, collector={"port": 1}))),
        level="error",
    ),
    Case(
        "collector.seen",
        lambda path: of(collector.SEEN, collector.check(counted(path, "web", "app"))),
        lambda path: of(collector.SEEN, collector.check(counted(path, "web"))),
        level="note",
    ),
    Case(
        "collector.refused",
        lambda path: of(collector.REFUSED, collector.check(counted(path, "web", refused="unknown_key"))),
        lambda path: of(collector.REFUSED, collector.check(counted(path, "web", refused="not_json"))),
        level="warning",
    ),
    # Flower
    Case(
        "flower.password",
        lambda _: first(flower.environment({"FLOWER_BASIC_AUTH": "ops:password"})),
        lambda _: first(flower.environment({"FLOWER_BASIC_AUTH": "ops:Zk3-tR9_pQ"})),
        level="warning",
    ),
]

#: What takes a server to show, in tests/integration/test_doctor.py; and what is told of only where it is bad, below.
ELSEWHERE: Final = {
    *("redis.reachable", "broker.reachable", "destinations.reachable", "flower.login"),
    *("outbox.unreadable", "outbox.left_over", "collector.ready"),
}

NO_SEGMENT: Final[dict[str, Any]] = {"destinations__segment__enabled": False}


def answered_now() -> workers.Worker:
    now = time.time()
    return workers.Worker(
        name="w@host", queues=frozenset({"tracking_log"}), facts=worker(time=now).facts, asked=now, answered=now
    )


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_mistake_is_found_with_a_remedy(case: Case, tmp_path: Path) -> None:
    found = case.bad(tmp_path)

    assert (found.check, found.level) == (case.check, case.level)
    assert found.what
    assert not found.what.endswith(".")
    assert found.remedy


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_fixed_mistake_is_no_longer_found(case: Case, tmp_path: Path) -> None:
    found = case.good(tmp_path)

    assert (found.check, found.level, found.remedy) == (case.check, "ok", "")


def test_every_check_is_tested_with_a_mistake() -> None:
    names = [check.name for area in AREAS for check in area.checks]

    assert len(names) == len(set(names))
    assert sorted({case.check for case in CASES} | ELSEWHERE) == sorted(names)
    assert [check for area in AREAS for check in area.checks if not check.name.startswith(f"{area.name}.")] == []


def test_a_check_that_crashes_is_reported_and_hides_no_finding() -> None:
    def run(_: Deployment) -> Iterator[Finding]:
        yield settings.VALID.ok("it was looked at")
        raise OSError("redis://:hunter2@redis.internal is odd")

    area = examination.Area(name="settings", title="Settings", checks=(), run=run)
    found = examination.examine_area(area, deployment())

    assert [(finding.check, finding.level) for finding in found] == [
        ("settings.valid", "ok"),
        ("settings.failed", "error"),
    ]
    assert "hunter2" not in str(found)


# Settings


def test_unreadable_settings_are_findings_and_their_files_are_examined(tmp_path: Path) -> None:
    file = with_mode(
        tmp_path / "site.toml", 0o644, '[destinations.segment]\nwrite_key = "k"\nevent = ["*"]\n[outbocks]'
    )

    found = examine({"DISPATCHER_SETTINGS": str(file), "DISPATCHER_OUTBOX__MAX_BITES": "1"})

    errors = {finding.check for finding in found if finding.level == "error"}
    assert errors == {"settings.valid", "settings.readable"}
    assert any("DISPATCHER_OUTBOX__MAX_BYTES" in finding.what for finding in found)


def test_mistakes_in_a_destinations_options_do_not_stop_other_checks(own_state: Path) -> None:
    environ = {"DISPATCHER_STATE_DIRECTORY": str(own_state), "DISPATCHER_DESTINATIONS__SEGMENT__HOTS": "x"}

    found = examine(environ, only=["outbox"])

    assert "settings.valid" in {finding.check for finding in found if finding.level == "error"}
    assert any(finding.check == "outbox.directory" for finding in found)


def test_a_password_in_a_url_is_a_credential_too(tmp_path: Path) -> None:
    text = 'broker_url = "redis://:hunter2@redis.internal/0"'

    found = settings.readable(with_mode(tmp_path / "s.toml", 0o644, text))

    assert found.level == "error"
    assert "hunter2" not in found.what


def test_a_world_readable_file_is_fine_without_credentials(tmp_path: Path) -> None:
    assert settings.readable(with_mode(tmp_path / "s.toml", 0o644, "strict = true")).level == "ok"


# Redis


@pytest.mark.parametrize(
    ("facts", "options", "level"),
    [
        ({"aof_enabled": "0"}, {"save": "3600 1"}, "warning"),
        ({"aof_enabled": "0"}, {}, "warning"),
        ({"aof_enabled": "1"}, {"appendfsync": "no"}, "warning"),
        ({"aof_enabled": "1"}, {"appendfsync": "always"}, "ok"),
        ({"aof_enabled": "1"}, {}, "ok"),
        ({}, {}, "note"),
    ],
)
def test_incomplete_persistence_is_a_warning(facts: dict[str, str], options: dict[str, str], level: str) -> None:
    assert redis_server.persistence(facts, options).level == level


@pytest.mark.parametrize(
    ("save", "stops", "level"), [("3600 1", "yes", "error"), ("3600 1", "no", "warning"), ("", "yes", "warning")]
)
def test_a_failed_snapshot_is_an_error_if_redis_then_refuses_writes(save: str, stops: str, level: str) -> None:
    options = {"save": save, "stop-writes-on-bgsave-error": stops}
    assert redis_server.writes({"rdb_last_bgsave_status": "err"}, options).level == level


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        ({"valkey_version": "8.0.1", "redis_version": "7.2.4", "server_name": "valkey"}, "ok"),
        ({"redis_version": "8.2.3"}, "ok"),
        ({"redis_version": "7.4", "dragonfly_version": "1.2"}, "warning"),
        ({"redis_version": "5.0.14"}, "error"),
    ],
)
def test_the_kind_of_server_is_recognised_by_its_info(facts: dict[str, str], level: str) -> None:
    assert redis_server.version(facts).level == level


@pytest.mark.parametrize(
    ("facts", "level"),
    [
        ({"redis_mode": "sentinel"}, "error"),
        ({"redis_mode": "standalone", "cluster_enabled": "1"}, "error"),
        ({"role": "slave"}, "error"),
        ({"role": "master", "connected_slaves": "2"}, "ok"),
    ],
)
def test_only_a_primary_outside_a_cluster_carries_doorbells(facts: dict[str, str], level: str) -> None:
    assert redis_server.server_mode(facts, is_broker=True).level == level


@pytest.mark.parametrize(("role", "level"), [("master", "ok"), ("slave", "error")])
def test_a_primary_of_a_cluster_can_be_the_store(role: str, level: str) -> None:
    found = redis_server.server_mode({"cluster_enabled": "1", "role": role, "connected_slaves": "1"})
    assert found.level == level
    assert level == "error" or found.what == "a primary of a Redis Cluster; replicas: 1"


@pytest.mark.parametrize(
    ("used", "most", "machine", "level"),
    [(95, 100, 1000, "error"), (70, 100, 1000, "warning"), (70, 0, 100, "warning"), (10, 0, 100, "ok")],
)
def test_without_a_limit_memory_is_compared_with_the_machines(used: int, most: int, machine: int, level: str) -> None:
    facts = {"used_memory": str(used), "maxmemory": str(most), "total_system_memory": str(machine)}
    assert redis_server.memory(facts).level == level


@pytest.mark.parametrize(
    ("url", "encryption", "login"),
    [
        ("redis+socket:///run/redis.sock", "ok", "ok"),
        ("redis://localhost:6379/0", "ok", "ok"),
        ("redis://redis.internal/0", "warning", "warning"),
        ("rediss://:p@redis.internal/0?ssl_cert_reqs=CERT_NONE", "warning", "ok"),
        ("rediss://:p@redis.internal/0?ssl_cert_reqs=required", "ok", "ok"),
        ("sentinel://localhost;127.0.0.1:26380/0?master_name=main", "ok", "ok"),
        ("sentinel://:p@localhost;two.internal/0?master_name=main", "warning", "ok"),
        ("sentinel://one.internal;two.internal/0?master_name=main", "warning", "warning"),
    ],
)
def test_a_remote_connection_needs_encryption_and_a_password(url: str, encryption: str, login: str) -> None:
    assert (redis_server.encryption(url).level, redis_server.login(url).level) == (encryption, login)


# Clocks


def test_the_round_trip_time_does_not_count_as_clock_skew() -> None:
    found = skew(workers.CLOCK, "w@host", there=NOW, asked=NOW - 5, answered=NOW)
    assert found.level == "ok"


@pytest.mark.parametrize(("off", "level"), [(-40.0, "warning"), (5.0, "warning"), (-5.0, "warning")])
def test_clock_skew_is_found_in_both_directions(off: float, level: str) -> None:
    found = clock(off)
    assert found.level == level
    assert ("ahead of" in found.what) == (off > 0)


# Disks


def test_the_file_system_is_that_of_the_longest_matching_mount(tmp_path: Path) -> None:
    place = tmp_path / "a b"
    place.mkdir()
    octal = str(place).replace(" ", "\\040")
    mounts = f"/dev/x / ext4 rw 0 0\nserver:/x {octal} nfs4 rw 0 0\nnone /elsewhere tmpfs rw 0 0\n"

    assert disk.file_system_of(place / "not" / "there", mounts) == "nfs4"
    assert disk.file_system_of(tmp_path, mounts) == "ext4"
    assert disk.file_system_of(tmp_path, "") == ""


@pytest.mark.parametrize(("kind", "level"), [("tmpfs", "error"), ("overlay", "warning"), ("btrfs", "ok")])
def test_an_outbox_on_a_volatile_file_system_is_found(kind: str, level: str) -> None:
    assert outbox.local_disk(Path("/somewhere"), kind).level == level


def test_few_free_inodes_are_as_bad_as_little_space(tmp_path: Path) -> None:
    assert outbox.enough_room(tmp_path, room(5 * GB, free_files=3), wanted=GB).level == "warning"
    assert tracking_log.enough_room(tmp_path, room(5 * GB, free_files=3)).level == "warning"


@pytest.mark.parametrize(("free", "level"), [(GB, "warning"), (GB // 10, "error"), (3 * GB, "ok")])
def test_too_little_space_for_the_outboxes_limit_is_a_warning(tmp_path: Path, free: int, level: str) -> None:
    assert outbox.enough_room(tmp_path, room(free), wanted=2 * GB).level == level


# Outboxes


def test_the_outbox_of_a_living_process_is_fine_while_it_relays(tmp_path: Path) -> None:
    living = make_outbox(tmp_path)
    living.append(b"{}")
    reader = Reader(living.directory)
    assert worst(outbox.relays(tmp_path, external=False, max_wait_seconds=0)).level == "ok"
    reader.close()
    found = worst(outbox.relays(tmp_path, external=False, max_wait_seconds=0))
    assert (found.check, found.level) == ("outbox.relayed", "error")
    living.close()


def test_an_outbox_that_a_relay_adopts_in_time_is_not_an_orphan(tmp_path: Path) -> None:
    root = journal_root(tmp_path)
    reader = Reader(find_outboxes(root)[0])
    try:
        assert of(outbox.RELAYED, outbox.relays(root, external=False, max_wait_seconds=30)).level == "ok"
    finally:
        reader.close()


def test_examining_an_outbox_changes_nothing(tmp_path: Path) -> None:
    root = journal_root(tmp_path)
    before = contents(root)
    list(outbox.relays(root, external=True, max_wait_seconds=0))
    list(outbox.unreadable(root))
    outbox.permissions(root)
    assert contents(root) == before


def contents(root: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_without_an_outbox_a_missing_external_relay_is_only_noted(tmp_path: Path) -> None:
    assert of(outbox.RELAY, outbox.relays(tmp_path, external=True, max_wait_seconds=0)).level == "note"


def test_journals_without_a_state_file_are_an_error(tmp_path: Path) -> None:
    (found,) = outbox.unreadable(without_state(tmp_path))
    assert (found.check, found.level) == ("outbox.unreadable", "error")

    (tmp_path / "1-a").rename(tmp_path.parent / "copy")
    assert list(outbox.unreadable(tmp_path)) == []


def test_a_garbled_state_file_is_an_error(tmp_path: Path) -> None:
    (without_state(tmp_path) / "1-a" / "state").write_bytes(b"x" * 5000)
    (found,) = outbox.unreadable(tmp_path)
    assert found.level == "error"


def test_an_outbox_left_half_made_is_noted_until_it_is_deleted(tmp_path: Path) -> None:
    (found,) = outbox.left_over(half_made(tmp_path))
    assert (found.check, found.level) == ("outbox.left_over", "note")

    next(tmp_path.iterdir()).rmdir()
    assert list(outbox.left_over(tmp_path)) == []


def test_an_outbox_that_is_being_made_is_not_noted(tmp_path: Path) -> None:
    (tmp_path / f".{os.getpid()}-a").mkdir()
    assert list(outbox.left_over(tmp_path)) == []


# Destinations


@pytest.mark.parametrize(
    "secret",
    [
        *("", "key ", " key", "k ey", "key\n", '"key', "key'", "'key'", "ключ"),
        *("<write key>", "${WRITE_KEY}", "xxxx", "changeme", "your-write-key", "YOUR_WRITE_KEY", "WRITE_KEY", "todo"),
        *("***", "{{ key }}", "secret"),
    ],
)
def test_a_malformed_credential_is_found_and_not_shown(secret: str) -> None:
    flaw = destinations.flaw_of(secret)
    assert flaw is not None
    assert not secret.strip() or secret.strip() not in flaw


@pytest.mark.parametrize(
    "secret", ["a-key", "local", "kCJ2wkHz0M5yLHQHAzEhfVhQdlV6YzSX", "test-source-7Gh2", "whsec_aGlk whsec_b2xk"]
)
def test_a_plausible_credential_is_accepted(secret: str) -> None:
    assert destinations.flaw_of(secret) is None


def test_a_missing_write_key_is_an_error_unless_the_segment_stub_is_used() -> None:
    found = worst(destinations.credentials("segment", table(), segment()))
    assert found.level == "error"
    assert "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY" in found.remedy
    assert worst(destinations.credentials("segment", table(), segment(), is_embedded=True)).level == "note"
    flawed = segment(write_key=SecretStr("<key>"))
    assert worst(destinations.credentials("segment", table(), flawed, is_embedded=True)).level == "error"


def test_missing_settings_of_a_destination_are_an_error_with_their_variables() -> None:
    ads = table(type="meta_conversions", dataset_id="1234567890123456")
    found = worst(destinations.missing_settings("shop_ads", ads))
    assert found.level == "error"
    assert "DISPATCHER_DESTINATIONS__SHOP_ADS__ACCESS_TOKEN" in found.what
    assert "credential" not in found.remedy
    whole = table(type="meta_conversions", dataset_id="1234567890123456", access_token="a-token")
    assert worst(destinations.missing_settings("shop_ads", whole)).level == "ok"
    log = table(type="tracking_log", path="/tmp/tracking.log")
    assert worst(destinations.missing_settings("tracking_log", log)).level == "ok"


def test_a_destination_replaced_by_the_segment_stub_is_not_probed() -> None:
    found = Deployment(config.load({}, {}), environ={}, quick=False, flower=flower.ADDRESS)
    assert of(destinations.REACHABLE, destinations.check(found)).level == "note"


def test_a_lease_as_short_as_one_slow_request_is_a_warning() -> None:
    assert first(destinations.lease("segment", table(lease_seconds=20), segment())).level == "warning"


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (socket.gaierror(-2, "Name or service not known"), "name service"),
        (TimeoutError("timed out"), "no answer within"),
        (ConnectionRefusedError(111, "Connection refused"), "connection refused"),
    ],
)
def test_an_unreachable_destination_is_explained_in_plain_words(error: Exception, words: str) -> None:
    assert words in endpoint.describe(error)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://vendor.example", "HTTPS_PROXY has the scheme 'ftp'"),
        ("http://a..b", "cannot be the name of one"),
        (f"http://{'a' * 70}.example", "cannot be the name of one"),
        ("http://vendor.example:99999", "the port of vendor.example"),
    ],
)
def test_what_keeps_this_machine_from_connecting_is_a_finding(
    url: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "ftp://user:hidden@proxy")
    (found,) = destinations.reach("shop", urlsplit(url))
    assert found.level == "error"
    assert words in found.what
    assert "hidden" not in found.what


# Tracking log


LOGROTATE: Final = """
# /var/log/tracking/old.log { copytruncate }
/var/log/other/*.log {
  daily
}
"/var/log/tracking/*.log" /var/log/more.log {
  size 100M
  compress
}
"""


def test_a_logrotate_pattern_that_covers_the_log_is_found(tmp_path: Path) -> None:
    (tmp_path / "tracking").write_text(LOGROTATE)

    found = tracking_log.logrotate(Path("/var/log/tracking/tracking.log"), (tmp_path / "absent.conf", tmp_path))

    assert found is not None
    assert found[1].split() == ["size", "100M", "compress"]
    assert tracking_log.logrotate_options(*found).level == "warning"
    assert tracking_log.logrotate(Path("/elsewhere/tracking.log"), (tmp_path,)) is None


def test_a_log_that_is_never_rotated_is_noted(tmp_path: Path) -> None:
    log = tmp_path / "tracking.log"
    assert tracking_log.rotation(log, "log", None, is_rotated=False).level == "note"
    assert tracking_log.rotation(log, "log", None, is_rotated=True).level == "ok"
    with log.open("wb") as file:
        file.truncate(6 * GB)  # a hole: it takes no room
    assert tracking_log.rotation(log, "log", None, is_rotated=False).level == "warning"


# Workers


def test_a_worker_that_cannot_answer_is_of_another_version() -> None:
    silent = workers.Worker(name="w@host", queues=frozenset({"tracking_log"}))
    found = {finding.check: finding.level for finding in workers.check_answers([silent], deployment(**NO_SEGMENT))}
    assert found["workers.version"] == "warning"
    assert found["workers.queues"] == "ok"


def test_a_transport_without_a_visibility_timeout_is_fine() -> None:
    assert workers.visibility("w@host", None, 3600).level == "ok"


# Deliveries


def test_events_that_wait_too_long_are_reported_with_the_last_error() -> None:
    found = deliveries.waiting("segment", counts(queued=5, oldest_ms=0, last_error="answered 503"), NOW)
    assert "answered 503" in found.what


def test_a_breaker_that_can_close_by_itself_is_a_warning() -> None:
    open_breaker = Breaker(state="open", cause="transient", error="answered 503", opened_ms=int((NOW - 9) * 1000))
    found = deliveries.breaker("segment", Counts(breaker=open_breaker), NOW)
    assert found.level == "warning"
    assert "answered 503" in found.what


# Flower


@pytest.mark.parametrize("login", ["ops:ops", "ops:", "admin:Flower", "ops:Zk3-tR9_pQ,ada:secret"])
def test_a_guessable_password_is_a_warning(login: str) -> None:
    found = first(flower.environment({"FLOWER_BASIC_AUTH": login}))
    assert (found.check, found.level) == ("flower.password", "warning")
    assert login not in found.what


def test_an_open_api_is_a_warning() -> None:
    found = first(flower.environment({"FLOWER_UNAUTHENTICATED_API": "true"}))
    assert (found.check, found.level) == ("flower.login", "warning")


@pytest.mark.parametrize(("name", "can_be_replayed"), [("segment", True), ("emit", False)])
def test_a_remedy_names_only_what_can_be_done(name: str, can_be_replayed: bool) -> None:
    found = deliveries.dead(name, counts(dead=3, dead_by_reason={"invalid": 3}))

    assert f"dispatcher dead list {name}" in found.remedy
    assert ("replay" in found.remedy) is can_be_replayed


@pytest.mark.parametrize(("disabled", "why"), [({"old"}, "is disabled"), (set(), "is not in the settings")])
def test_what_waits_for_a_destination_that_nobody_serves_is_named(disabled: set[str], why: str) -> None:
    (found,) = deliveries.unserved({"old": counts(queued=499)}, disabled=frozenset(disabled))

    assert found.what == f"499 events waiting for old, which {why}"
    assert "dispatcher waiting move old NEW" in found.remedy


@pytest.mark.parametrize(
    ("status", "text", "level", "words"),
    [
        (200, b"ok\n", "ok", "is ready"),
        (503, b"draining\n", "warning", "is about to end"),
        (200, b"<html>", "note", "another program"),
        (0, b"", "note", "no collector at"),
    ],
)
def test_the_collector_is_asked_whether_it_is_ready(status: int, text: bytes, level: str, words: str) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            assert self.path == "/readyz"
            if status:
                self.send_response(status)
                self.end_headers()
                self.wfile.write(text)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.handle_request)
        thread.start()
        table = {"host": "0.0.0.0", "port": server.server_port}  # noqa: S104
        found = of(collector.READY, collector.check(deployment(sources={"web": {"write_key": "k1"}}, collector=table)))
        thread.join()
    assert (found.level, words in found.what) == (level, True)
