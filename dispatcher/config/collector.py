"""The collector's tables: where it listens and what it bears, and the sources that may send to it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, SecretStr, StringConstraints

from dispatcher.config.allowlists import Allowlist
from dispatcher.config.base import MIB, Count, Seconds, SecondsOrNone, Size, Table, checked_by
from dispatcher.config.object_path import is_object_path

#: Printable ASCII without blanks, quotes and slashes: a key stands in URLs, headers and JSON.
_KEY: Final = re.compile(r"[A-Za-z0-9_.~-]{1,100}")
# What 128 random bits have as hexadecimal digits.
_SECRET_CHARACTERS: Final = 32
_PATH: Final = re.compile(r"/[A-Za-z0-9_./~-]*")
_FILE: Final = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9_.~-]*\.js")


def _as_list(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _check_keys(keys: tuple[str, ...]) -> None:
    if not all(_KEY.fullmatch(key) for key in keys):
        raise ValueError(
            "each key must have 1 to 100 letters, digits and . _ ~ -; make one with `openssl rand -hex 16`"
        )


def _check_origins(origins: tuple[str, ...]) -> None:
    for origin in origins:
        try:
            parts = urlsplit(origin)
            is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_good = False
        if (
            not is_good
            or origin != f"{parts.scheme}://{parts.netloc}"
            or "@" in origin
            or "*" in origin[:-1].replace("://*.", "", 1)
        ):
            raise ValueError(
                f'{origin!r} must be an origin without a path: "https://example.org" or "https://*.example.org"'
            )


def _check_networks(networks: tuple[str, ...]) -> None:
    for network in networks:
        try:
            ipaddress.ip_network(network)
        except ValueError as error:
            raise ValueError(f'{network!r} must be an address or a network such as "10.0.0.0/8"') from error


def _check_path(path: str) -> None:
    if not _PATH.fullmatch(path):
        raise ValueError('it must be a path such as "/v1/events"')


def _check_script(name: str) -> None:
    if not _FILE.fullmatch(name):
        raise ValueError('it must be the name of a file such as "site.js", without a path')


def _check_help(url: str) -> None:
    # It stands in warnings on the console, and in letters.
    if not url or not url.isprintable() or " " in url or urlsplit(url).scheme not in ("", "http", "https"):
        raise ValueError('it must be a URL such as "https://example.org/logger", or a path')


def _check_secret(secret: SecretStr | None) -> None:
    if secret is not None and len(secret.get_secret_value()) < _SECRET_CHARACTERS:
        raise ValueError(f"it must have at least {_SECRET_CHARACTERS} characters: make one with `openssl rand -hex 32`")


def _check_user(entry: str | None) -> None:
    if entry is not None and not is_object_path(entry):
        raise ValueError(f"{entry!r} must have the form package.module:callable")


#: One of the paths of the collector.
UrlPath = Annotated[str, checked_by(_check_path)]
SourceName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


class SourceSettings(Table):
    """One source of events: a site, an app or a server that sends to the collector, known by its write key."""

    write_key: Annotated[tuple[str, ...], BeforeValidator(_as_list), checked_by(_check_keys)] = Field(
        min_length=1, description="The key that its clients send; a list of them while one is replaced by another."
    )
    kind: Literal["browser", "server"] = Field(
        "browser", description="`browser`: pages send, from the listed origins only; `server`: no origin is asked for."
    )
    origins: Annotated[tuple[str, ...], BeforeValidator(_as_list), checked_by(_check_origins)] = Field(
        (), description="Origins of its pages, `https://*.example.org` for all below. None: any, without cookies."
    )
    names: Allowlist = Field(
        None, description="Names of events that it may send: names, globs, ! exceptions. Absent: all."
    )
    ip: Literal["keep", "truncate", "drop"] = Field(
        "keep", description="`truncate` keeps /24 of IPv4 and /48 of IPv6; applied before the outbox."
    )
    event_bytes: Size = Field(32 * 1024, description="Most bytes of one event as it is sent.")
    batch_events: Count = Field(2500, description="Most events in a request.")
    per_second: float | None = Field(None, gt=0, description="Requests a second in each process. Absent: no limit.")
    burst: Count = Field(100, description="Requests that may come at once after a pause, where per_second is set.")


class CollectorSettings(Table):
    """`dispatcher collector`: takes events over HTTP."""

    enabled: bool = Field(False, description="Whether `dispatcher up` runs it.")
    host: str = Field("127.0.0.1", min_length=1, description="The address to listen on; `0.0.0.0` for all of IPv4.")
    port: int = Field(8090, ge=0, le=65535, description="The port to listen on; 0: any free one.")
    metrics_host: str = Field(
        "127.0.0.1", min_length=1, description="The address of /metrics, which is for operators and not for the public."
    )
    metrics_port: int | None = Field(
        None, ge=0, le=65535, description="The port of /metrics; 0: any free one. Absent: the tenth after `port`."
    )
    processes: Annotated[int, Field(ge=1, le=256)] = Field(
        1, description="Processes that share the port, each with an outbox."
    )
    durability: Literal["process", "disk"] = Field(
        "process", description="An answer of 200 means: `process` survives the collector, `disk` a loss of power too."
    )
    commit_seconds: SecondsOrNone = Field(
        0.005, le=1, description='With durability "disk": how long one sync waits for more requests.'
    )
    commit_events: Count = Field(128, description='With durability "disk": events for which it waits no longer.')
    proxies: Annotated[tuple[str, ...], BeforeValidator(_as_list), checked_by(_check_networks)] = Field(
        (), description="Networks of proxies whose X-Forwarded-For counts. None: that header is not read."
    )
    script_name: Annotated[str, checked_by(_check_script)] = Field(
        "tracker.js", description="The name of the browser's client; block lists have some names."
    )
    events_path: UrlPath = Field("/v1/events", description="Where the browser's client sends to.")
    handover_path: UrlPath = Field("/v1/handover", description="Where pages fetch what only they can hand over.")
    handover_waits: Count = Field(1000, description="Most pages of a process that wait for events; more are 429.")
    secret: Annotated[SecretStr | None, checked_by(_check_secret)] = Field(
        None,
        description="Signs who a page's visitor is; the same for apps, workers and collectors. For types in browsers.",
    )
    logger_stage: Literal["off", "warn", "warn+report", "error", "removed"] = Field(
        "warn+report",
        description="How far the deprecation of `Logger.log` has gone, on pages that say nothing else themselves.",
    )
    logger_help: Annotated[str, checked_by(_check_help)] = Field(
        "logger-help.html", description="Where its warnings lead: a URL, or a path from where logger.js is."
    )
    edx_path: UrlPath = Field("/event", description="Where edX's pages send to.")
    mobile_path: UrlPath = Field(
        "/segmentio/event", description="Where Segment's webhook sends events of edX's apps to."
    )
    mobile_secret: SecretStr | None = Field(
        None,
        description="`key` in that webhook's query; edX's TRACKING_SEGMENTIO_WEBHOOK_SECRET. Absent: none is taken.",
    )
    mobile_types: tuple[str, ...] = Field(
        ("track",), description="Types of calls that the webhook takes; edX's TRACKING_SEGMENTIO_ALLOWED_TYPES."
    )
    mobile_disallowed_names: tuple[str, ...] = Field(
        (), description="Texts that no name has; edX's TRACKING_SEGMENTIO_DISALLOWED_SUBSTRING_NAMES."
    )
    mobile_libraries: tuple[str, ...] = Field(
        ("analytics-android", "analytics-ios"),
        description="Libraries whose calls are taken; those of edX's TRACKING_SEGMENTIO_SOURCE_MAP.",
    )
    user: Annotated[str | None, checked_by(_check_user)] = Field(
        None, description="package.module:function, which knows the user of a request by its cookies. Absent: nobody."
    )
    user_seconds: Seconds = Field(0.5, description="How long that function may take.")
    duplicate_seconds: SecondsOrNone = Field(
        86_400.0, description="How long ids are remembered, so that an event that comes again goes on once. 0: never."
    )
    duplicate_ids: Count = Field(
        1_000_000, description="Most ids to remember, for some 30 bytes of Redis each; then the oldest go early."
    )
    body_bytes: Size = Field(512 * 1024, description="Most bytes of a body as it is sent.")
    inflated_bytes: Size = Field(2 * MIB, description="Most bytes of a body after gzip or deflate.")
    depth: Annotated[int, Field(ge=1, le=200)] = Field(64, description="How deep objects and lists of JSON may nest.")
    requests: Count = Field(1000, description="Most requests at a time in a process; more are answered 429.")
    request_bytes: Count = Field(64 * MIB, description="Most bytes of bodies at a time in a process.")
    connections: Count = Field(10_000, description="Most connections at a time in a process.")
    header_seconds: Seconds = Field(5.0, description="How long the head of a request may take.")
    body_seconds: Seconds = Field(10.0, description="How long a body may pause; then 408.")
    keep_alive_seconds: Seconds = Field(75.0, description="How long an idle connection stays open.")
    connection_seconds: Seconds = Field(
        300.0, description="How old a connection gets, give or take a tenth, so that balancers spread them anew."
    )
    drain_seconds: SecondsOrNone = Field(
        0.0, description="How long /readyz says 503 before it stops to listen; as long as a balancer needs to see it."
    )
    access_log: bool = Field(False, description="A line for each request on stderr: no body, no key, no query.")


def check_write_keys(sources: Mapping[str, SourceSettings]) -> None:
    """Raise ValueError where two sources have the same write key."""
    seen: dict[str, str] = {}
    for name, source in sources.items():
        for key in source.write_key:
            if seen.setdefault(key, name) != name:
                raise ValueError(f"{seen[key]} and {name} have the same write key; each source needs its own")
