"""Areas: the parts of a deployment in the order in which they are looked at, and the examination of all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dispatcher.config import masked_url
from dispatcher.doctor.checks import (
    broker,
    deliveries,
    destinations,
    flower,
    installation,
    outbox,
    redis_server,
    settings,
    tracking_log,
    workers,
)
from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.finding import Check, Finding

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """One part of a deployment.

    Args:
        name: What its checks' names begin with.
        title: For people.
        checks: All that it may find.
        look: Looks at a deployment. May block for seconds; changes nothing and sends no event.
    """

    name: str
    title: str
    checks: tuple[Check, ...]
    look: Callable[[Deployment], Iterable[Finding]]


AREAS: Final = (
    Area(name="settings", title="Settings", checks=settings.CHECKS, look=settings.look),
    Area(name="installation", title="Installation", checks=installation.CHECKS, look=installation.look),
    Area(name="redis", title="Redis", checks=redis_server.CHECKS, look=redis_server.look),
    Area(name="broker", title="Broker", checks=broker.CHECKS, look=broker.look),
    Area(name="outbox", title="Outboxes of this machine", checks=outbox.CHECKS, look=outbox.look),
    Area(name="destinations", title="Destinations", checks=destinations.CHECKS, look=destinations.look),
    Area(name="log", title="Tracking log", checks=tracking_log.CHECKS, look=tracking_log.look),
    Area(name="workers", title="Workers", checks=workers.CHECKS, look=workers.look),
    Area(name="deliveries", title="Deliveries", checks=deliveries.CHECKS, look=deliveries.look),
    Area(name="flower", title="Flower", checks=flower.CHECKS, look=flower.look),
)

# In which settings that cannot be used are told of.
_SETTINGS: Final = AREAS[0].name


def examine(
    environ: Mapping[str, str],
    *,
    only: Collection[str] = (),
    quick: bool = False,
    flower_address: str = flower.ADDRESS,
    begin: Callable[[Area], None] = lambda _: None,
) -> list[Finding]:
    """Look at a deployment. Blocks for some seconds, longer where much does not answer. Raises nothing.

    Args:
        environ: The environment variables, from which the settings are read.
        only: The names of the areas to look at; all when empty.
        quick: Leave out what takes longer than a moment.
        flower_address: Where Flower is thought to be.
        begin: Told of each area before it is looked at.
    """
    wanted = [area for area in AREAS if not only or area.name in only]
    begin(AREAS[0])
    reading, found = settings.read_settings(environ)
    if reading is None:
        # Nothing else can be found without them.
        return [*found, *settings.look_at_files(environ)]
    deployment = Deployment(reading.settings, environ=environ, quick=quick, flower=flower_address)
    # Wrong settings show whatever was asked for: they may be why the rest looks as it does.
    found = [finding for finding in found if finding.level != "ok" or not only or _SETTINGS in only]
    try:
        for area in wanted:
            begin(area)
            found += _look(area, deployment)
    finally:
        deployment.close()
    return found


def _look(area: Area, deployment: Deployment) -> list[Finding]:
    found: list[Finding] = []
    try:
        found.extend(area.look(deployment))
    except Exception as error:  # one check that fails must not hide what the others find
        logger.debug("looking at %s failed", area.name, exc_info=True)
        what = masked_url(f"looking at it failed: {type(error).__name__}: {error}")
        found.append(Finding(f"{area.name}.failed", "error", what, "report it, with what this machine runs on"))
    return found
