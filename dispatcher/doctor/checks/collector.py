"""Does the collector, where sources may send to it, have all that it needs, and answer?"""

from __future__ import annotations

import http.client
import time
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.finding import Check, Finding
from dispatcher.installation.extras import install_command
from dispatcher.monitoring.intake import intake_directory, read_intake
from dispatcher.monitoring.source_summary import summarize
from dispatcher.monitoring.units import count_text

# Seconds for one answer.
_TIMEOUT_SECONDS: Final = 2.0
# Reasons and origins that get a finding each, the most frequent first.
_SHOWN_REFUSALS: Final = 5
# Whoever listens on all addresses is reached on this one.
_REACHED: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104

SOURCES: Final = Check(
    "collector.sources",
    "Whether the collector, if `dispatcher up` is to run it, knows a source and is installed.",
    "add a table [sources.web] with a write_key, and install what the finding says",
)
READY: Final = Check(
    "collector.ready",
    "Whether the collector of this machine wants requests, where the settings have sources.",
    "start it with `dispatcher collector`, or with `dispatcher up` and collector.enabled; look into its output",
)

SEEN: Final = Check(
    "collector.seen",
    "Whether each source of the settings has sent events to the collectors of this machine.",
    "look whether its pages or programs have its key and the collector's address; remove its table if it is not used",
)
REFUSED: Final = Check(
    "collector.refused",
    "Whether the collectors of this machine refused requests in the last hour because of the settings.",
    "`unknown_key`: give the pages a key of the settings, or the old key back to its source; `foreign_origin`: add the "
    "origin to the source's origins, if the pages are yours; `rate`, `too_many`: raise the source's limits; `outbox`: "
    "see `dispatcher doctor --only outbox`; docs/reference/collector.md lists the others",
)
# What the settings, or the machine, are at fault for as well as the client.
_OF_SETTINGS: Final = frozenset({"unknown_key", "foreign_origin", "rate", "too_many", "outbox", "failed"})

CHECKS: Final = (SOURCES, READY, SEEN, REFUSED)


def check(deployment: Deployment) -> Iterator[Finding]:
    """Check the settings, and ask the collector at their address. Blocks for two seconds at most."""
    table, sources = deployment.settings.collector, deployment.settings.sources
    if not sources:
        if table.enabled:
            yield SOURCES.error("collector.enabled is true, and the settings have no source: it is not started")
        return
    if any(find_spec(name) is None for name in ("uvicorn", "httptools", "uvloop")):
        yield SOURCES.warning(f"there are sources, but the collector is not installed: {install_command('collector')}")
    else:
        yield SOURCES.ok(f"sources may send: {', '.join(sources)}")
    yield from _counted(deployment)
    address = f"{table.host}:{table.port}"
    connection = http.client.HTTPConnection(_REACHED.get(table.host, table.host), table.port, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        status, text = answer.status, answer.read(100)
    except (OSError, http.client.HTTPException):
        yield READY.skipped(f"no collector at {address}")
        return
    finally:
        connection.close()
    if (status, text) == (200, b"ok\n"):
        yield READY.ok(f"the collector at {address} is ready")
    elif (status, text) == (503, b"draining\n"):
        yield READY.warning(f"the collector at {address} is about to end")
    else:
        yield READY.skipped(f"another program than the collector listens at {address}")


def _counted(deployment: Deployment) -> Iterator[Finding]:
    """What the collectors of this machine have seen of the sources, and have refused."""
    try:
        intake = read_intake(intake_directory(deployment.settings.outbox_directory))
    except OSError as error:
        yield SEEN.skipped(f"what the collectors counted cannot be read: {error.strerror}")
        return
    if not intake.requests:
        yield SEEN.skipped("no collector has counted anything on this machine")
        return
    silent = [one.name for one in summarize(intake, deployment.settings.sources) if one.last_seen_ms is None]
    if silent:
        yield SEEN.note(f"never sent an event: {', '.join(silent)}")
    else:
        yield SEEN.ok("all sources have sent events")
    recent = [one for one in intake.recent_refusals(time.time()) if one[0] in _OF_SETTINGS]
    for code, origin, number in recent[:_SHOWN_REFUSALS]:
        yield REFUSED.warning(f"{code}: {count_text(number, 'request')} refused in the last hour from {origin}")
    if not recent:
        yield REFUSED.ok("the settings had no request refused in the last hour")
