"""Is each Redis reachable, of a kind that works, and configured so that it keeps what it has acknowledged?"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from dispatcher.connections.cluster_address import is_cluster
from dispatcher.connections.redis_pool import RedisPool
from dispatcher.connections.sentinels import is_sentinel
from dispatcher.connections.urls import redis_url, without_password
from dispatcher.doctor.clocks import skew
from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.disk import Room, free_room
from dispatcher.doctor.finding import Check, Finding
from dispatcher.doctor.redis_route import RedisRoute
from dispatcher.errors import StoreUnavailableError
from dispatcher.monitoring.units import size_text

# Celery 5.7 needs it: it uses ZRANGE with BYSCORE. The batch store itself needs 5.0.
_OLDEST: Final = (6, 2)
# Above it, calls of a relay begin to exceed relay.timeout_seconds under load.
_SLOW_SECONDS: Final = 0.05
# Questions of which the median counts.
_ASKED: Final = 5
# Fractions of the memory in use: a warning, and an error.
_MUCH, _TOO_MUCH = 0.6, 0.9
_LITTLE_ROOM_BYTES: Final = 1_000_000_000
_NO_ROOM_BYTES: Final = 200_000_000

Facts = Mapping[str, str]

REACHABLE: Final = Check(
    "redis.reachable",
    "Whether Redis answers, and how fast.",
    "start it (in development `dispatcher up` does), or set DISPATCHER_BROKER_URL (or DISPATCHER_STORE_URL) to one "
    "that this machine can reach; events stay in the outboxes until it answers",
)
LATENCY: Final = Check(
    "redis.latency",
    "How long Redis takes to answer.",
    "put Redis nearer to the web apps and workers, or raise DISPATCHER_RELAY__TIMEOUT_SECONDS to well above it",
)
LOADING: Final = Check(
    "redis.loading",
    "Whether Redis has loaded its data.",
    "wait until it has; nothing is lost meanwhile",
)
VERSION: Final = Check(
    "redis.version",
    "The server's kind and version: Redis 6.2 or newer, or Valkey.",
    "install Redis 6.2 or newer, or Valkey",
)
MODE: Final = Check(
    "redis.mode",
    "Whether it is a single server or a primary: a replica takes no writes, and a Redis Cluster can only be the store.",
    "use a single Redis, or an address that follows the primary, such as sentinel://; where DISPATCHER_STORE_URL names "
    "a cluster, let DISPATCHER_BROKER_URL name a plain Redis, RabbitMQ or SQS beside it",
)
PERSISTENCE: Final = Check(
    "redis.persistence",
    "Whether Redis writes what it acknowledges to disk: appendonly and appendfsync.",
    "set `appendonly yes` and `appendfsync everysec` (or always) in redis.conf, and with CONFIG SET while it runs",
)
WRITES: Final = Check(
    "redis.writes",
    "Whether Redis could write its files the last time.",
    "read the log of Redis: its disk may be full, or its directory not writable for it",
)
EVICTION: Final = Check(
    "redis.eviction",
    "maxmemory-policy: all but noeviction delete events that wait.",
    "set `maxmemory-policy noeviction` in redis.conf, and with CONFIG SET while it runs",
)
MEMORY: Final = Check(
    "redis.memory",
    "The memory in use against maxmemory, or against the machine's memory without one.",
    "start more workers so that it drains, raise maxmemory, or give Redis a larger machine",
)
CLIENTS: Final = Check(
    "redis.clients",
    "The connections against maxclients.",
    "raise maxclients and its limit of open files, or run fewer processes with more threads each",
)
CLOCK: Final = Check(
    "redis.clock",
    "The clock of Redis, by which leases and due times go, against this machine's.",
    "run an NTP client (chrony, systemd-timesyncd) on every machine",
)
ENCRYPTION: Final = Check(
    "redis.encryption",
    "Whether connections to another machine are encrypted, and the server's certificate is verified.",
    "use rediss:// with ssl_cert_reqs=required, or a network that nobody else can listen on",
)
LOGIN: Final = Check(
    "redis.login",
    "Whether a Redis on another machine asks for a password.",
    "set requirepass or an ACL user in redis.conf, and put the login into DISPATCHER_BROKER_URL",
)
DISK: Final = Check(
    "redis.disk",
    "The room on the disk of a Redis on this machine.",
    "make room on the disk of {directory}, or move it to a larger one",
)

CHECKS: Final = (
    REACHABLE,
    LATENCY,
    LOADING,
    VERSION,
    MODE,
    PERSISTENCE,
    WRITES,
    EVICTION,
    MEMORY,
    CLIENTS,
    CLOCK,
    ENCRYPTION,
    LOGIN,
    DISK,
)


def check(deployment: Deployment) -> Iterator[Finding]:
    """Every Redis, one after another."""
    for url in deployment.redis_urls:
        yield from _check_one(deployment, url)


def _check_one(deployment: Deployment, url: str) -> Iterator[Finding]:
    yield encryption(url)
    pool = deployment.pool(url)
    try:
        seconds = latency(pool, 1 if deployment.quick else _ASKED)
    except StoreUnavailableError as error:
        yield LOADING.error(str(error)) if "LOADING" in str(error) else REACHABLE.error(str(error))
        return
    yield slow(seconds, deployment.settings.relay.timeout_seconds)
    try:
        servers = pool.servers()
    except StoreUnavailableError as error:
        yield REACHABLE.error(str(error))
        return
    is_several = len(servers) > 1
    which = f", {len(servers)} primaries of a Redis Cluster" if is_several else ""
    yield REACHABLE.ok(f"{without_password(url)} answers{which}")
    found: list[Finding] = []
    for server in servers:
        findings = _check_server(deployment, url, server)
        found += [replace(one, what=f"{server.url}: {one.what}") for one in findings] if is_several else findings
    yield from _summarize(found, len(servers)) if is_several else found
    yield login(url)


def _check_server(deployment: Deployment, url: str, server: RedisPool) -> Iterator[Finding]:
    """What one server says of itself."""
    facts = info(server)
    options = configuration(server)
    yield loading(facts)
    yield version(facts)
    yield server_mode(facts, is_broker=url == deployment.settings.broker)
    yield persistence(facts, options)
    yield writes(facts, options)
    yield eviction(facts)
    yield memory(facts)
    if (finding := clients(facts, options)) is not None:
        yield finding
    yield clock(server)
    directory = _directory(deployment, url, options)
    if directory is not None:
        yield disk(directory, free_room(directory))


def _summarize(found: list[Finding], servers: int) -> Iterator[Finding]:
    """What is fine on all servers of a cluster once, and the rest for each server."""
    for check in dict.fromkeys(finding.check for finding in found):
        of_check = [finding for finding in found if finding.check == check]
        if all(finding.level == "ok" for finding in of_check):
            yield replace(of_check[0], what=f"fine on all {servers} servers; {of_check[0].what}")
        else:
            yield from (finding for finding in of_check if finding.level != "ok")


def latency(pool: RedisPool, times: int) -> float:
    """The median of the seconds that one PING takes. Raises StoreUnavailableError."""
    durations = []
    pool.execute("PING")  # connects
    for _ in range(times):
        began = time.perf_counter()
        pool.execute("PING")
        durations.append(time.perf_counter() - began)
    return sorted(durations)[len(durations) // 2]


def slow(seconds: float, timeout_seconds: float) -> Finding:
    what = f"{seconds * 1000:.1f} ms for one answer"
    if seconds > timeout_seconds / 2:
        return LATENCY.error(f"{what}, and the relay waits for only {timeout_seconds:g} s")
    return LATENCY.warning(what) if seconds > _SLOW_SECONDS else LATENCY.ok(what)


def info(pool: RedisPool) -> Facts:
    """The answer to INFO; empty if an ACL forbids it."""
    try:
        text = pool.execute("INFO").decode()
    except StoreUnavailableError:
        return {}
    pairs = (line.partition(":") for line in text.splitlines() if ":" in line)
    return {name: value.strip() for name, _, value in pairs}


def configuration(pool: RedisPool) -> Facts:
    """The options that the checks need. An ACL, or a hosted Redis, may hide some or all of them."""
    options: dict[str, str] = {}
    for name in ("appendfsync", "save", "maxclients", "dir", "stop-writes-on-bgsave-error"):
        try:
            answer: list[Any] = pool.execute("CONFIG", "GET", name)
        except StoreUnavailableError:
            return options
        options |= {answer[index].decode(): answer[index + 1].decode() for index in range(0, len(answer), 2)}
    return options


def loading(facts: Facts) -> Finding:
    if facts.get("loading") == "1" or facts.get("async_loading") == "1":
        return LOADING.warning("Redis is loading its data, and refuses commands meanwhile")
    return LOADING.ok("Redis has loaded its data")


def version(facts: Facts) -> Finding:
    if not facts:
        return VERSION.skipped("this user may not ask for INFO")
    if "valkey_version" in facts:
        return VERSION.ok(f"Valkey {facts['valkey_version']}")
    for name in ("dragonfly", "keydb"):
        if f"{name}_version" in facts or facts.get("server_name", "").lower() == name:
            return VERSION.warning(f"{name} is neither Redis nor Valkey, and is not tested")
    text = facts.get("redis_version", "")
    numbers = tuple(int(part) for part in text.split(".")[:2] if part.isdigit())
    what = f"Redis {text or 'of an unknown version'}"
    return VERSION.ok(what) if numbers >= _OLDEST else VERSION.error(what)


def server_mode(facts: Facts, *, is_broker: bool = False) -> Finding:
    """Whether it can be used.

    Args:
        facts: The answer to INFO.
        is_broker: Whether it is to carry the doorbells too.
    """
    mode, role = facts.get("redis_mode", "standalone"), facts.get("role", "master")
    in_cluster = mode == "cluster" or facts.get("cluster_enabled") == "1"
    if in_cluster and is_broker:
        return MODE.error("it is part of a Redis Cluster, which can be the batch store, and cannot carry doorbells")
    if mode == "sentinel":
        return MODE.error("it is a Sentinel, which holds no data")
    if role != "master":
        return MODE.error("it is a replica, which takes no writes")
    replicas = facts.get("connected_slaves", "0")
    if in_cluster:
        return MODE.ok(f"a primary of a Redis Cluster; replicas: {replicas}")
    return MODE.ok("a single server" if replicas == "0" else f"a primary; replicas: {replicas}")


def persistence(facts: Facts, options: Facts) -> Finding:
    if not facts:
        return PERSISTENCE.skipped("this user may not ask for INFO")
    if facts.get("aof_enabled") != "1":
        if options.get("save"):
            return PERSISTENCE.warning("appendonly is off: a crash loses what came after the last snapshot")
        if "save" not in options:
            return PERSISTENCE.warning("appendonly is off, and this user may not ask whether snapshots are taken")
        return PERSISTENCE.error("appendonly is off and no snapshots are taken: a restart loses the events that wait")
    fsync = options.get("appendfsync", "")
    if fsync == "no":
        return PERSISTENCE.warning("with appendfsync no, a power cut may lose half a minute of events")
    return PERSISTENCE.ok(f"appendonly is on{f', appendfsync {fsync}' if fsync else ''}")


def writes(facts: Facts, options: Facts) -> Finding:
    for name, what in (
        ("aof_last_write_status", "the last write to the append-only file failed"),
        ("aof_last_bgrewrite_status", "the append-only file could not be rewritten, and grows"),
    ):
        if facts.get(name, "ok") != "ok":
            return WRITES.error(what)
    if facts.get("rdb_last_bgsave_status", "ok") != "ok":
        refuses = options.get("save") and options.get("stop-writes-on-bgsave-error", "yes") == "yes"
        what = "the last snapshot failed"
        return WRITES.error(f"{what}, and Redis refuses writes until one succeeds") if refuses else WRITES.warning(what)
    return WRITES.ok("its files were written")


def eviction(facts: Facts) -> Finding:
    policy = facts.get("maxmemory_policy")
    if policy is None:
        return EVICTION.skipped("INFO does not say")
    if policy == "noeviction":
        return EVICTION.ok("noeviction")
    evicted = int(facts.get("evicted_keys", "0"))
    deleted = f", and {evicted:,} keys are deleted already" if evicted else ""
    return EVICTION.error(f"maxmemory-policy is {policy}: a full Redis deletes events that wait{deleted}")


def memory(facts: Facts) -> Finding:
    used, maximum = int(facts.get("used_memory", "0")), int(facts.get("maxmemory", "0"))
    machine = int(facts.get("total_system_memory", "0"))
    limit = maximum or machine
    if not used or not limit:
        return MEMORY.skipped("INFO does not say")
    of = f"maxmemory {size_text(maximum)}" if maximum else f"the machine's {size_text(machine)}, without maxmemory,"
    what = f"{size_text(used)} of {of} are in use"
    if used >= _TOO_MUCH * limit:
        return MEMORY.error(f"{what}: Redis is about to refuse events")
    return MEMORY.warning(what) if used >= _MUCH * limit else MEMORY.ok(what)


def clients(facts: Facts, options: Facts) -> Finding | None:
    """None if the limit is not known."""
    connected, limit = int(facts.get("connected_clients", "0")), facts.get("maxclients") or options.get("maxclients")
    if not limit:
        return None
    what = f"{connected:,} of {int(limit):,} connections"
    return CLIENTS.warning(what) if connected >= 0.8 * int(limit) else CLIENTS.ok(what)


def clock(pool: RedisPool) -> Finding:
    asked = time.time()
    try:
        seconds, microseconds = pool.execute("TIME")
    except StoreUnavailableError:
        return CLOCK.skipped("this user may not ask for TIME")
    return skew(
        CLOCK,
        "Redis",
        there=int(seconds) + int(microseconds) / 1e6,
        asked=asked,
        answered=time.time(),
    )


def encryption(url: str) -> Finding:
    route = RedisRoute.of(url)
    if route.host is None:
        return ENCRYPTION.ok("the connection stays on this machine")
    if not route.encrypted:
        return ENCRYPTION.warning(f"events and password go to {route.host} unencrypted")
    if not route.verified:
        return ENCRYPTION.warning(f"ssl_cert_reqs=none: anyone on the route to {route.host} can pretend to be it")
    return ENCRYPTION.ok("encrypted, and the certificate is verified")


def login(url: str) -> Finding:
    """Whether it asks for a password. It has answered: if the URL has none, Redis asked for none."""
    route = RedisRoute.of(url)
    if route.host is None:
        return LOGIN.ok("only this machine can reach it at this address")
    if not route.password:
        return LOGIN.warning(f"{route.host} asks for no password: anyone who reaches it can read and change all events")
    return LOGIN.ok("it asks for a password")


def disk(directory: Path, left: Room) -> Finding:
    what = f"{size_text(left.free_bytes)} are free on the disk of Redis, {directory}"
    if left.free_bytes < _NO_ROOM_BYTES:
        return DISK.error(what, directory=directory)
    return DISK.warning(what, directory=directory) if left.free_bytes < _LITTLE_ROOM_BYTES else DISK.ok(what)


def _directory(deployment: Deployment, url: str, options: Facts) -> Path | None:
    """Where a Redis on this machine keeps its files; None for one elsewhere, whose path would mean nothing here."""
    if is_cluster(url) or is_sentinel(url) or urlsplit(redis_url(url)).scheme != "unix":
        return None
    if deployment.settings.broker_url is None:
        return deployment.settings.state_directory / "redis"
    return Path(options["dir"]) if options.get("dir") else None
