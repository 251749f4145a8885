"""Does the collector, where sources may send to it, have all that it needs, and answer?"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Final

from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.finding import Check, Finding
from dispatcher.installation.extras import install_command

# Seconds for one answer.
_TIMEOUT_SECONDS: Final = 2.0
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

CHECKS: Final = (SOURCES, READY)


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
