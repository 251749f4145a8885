"""Examination: the parts of a deployment in the order in which they are checked, and what checks all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from dispatcher.config import mask_url
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
from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.finding import Check, Finding

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """One part of a deployment.

    Args:
        name: What its checks' names begin with.
        title: For people.
        checks: Every check of which it may yield a finding.
        run: Carries out the checks. May block for seconds; changes nothing and sends no event.
    """

    name: str
    title: str
    checks: tuple[Check, ...]
    run: Callable[[Deployment], Iterable[Finding]]


AREAS: Final = (
    Area(name="settings", title="Settings", checks=settings.CHECKS, run=settings.check),
    Area(name="installation", title="Installation", checks=installation.CHECKS, run=installation.check),
    Area(name="redis", title="Redis", checks=redis_server.CHECKS, run=redis_server.check),
    Area(name="broker", title="Broker", checks=broker.CHECKS, run=broker.check),
    Area(name="outbox", title="Outboxes of this machine", checks=outbox.CHECKS, run=outbox.check),
    Area(name="destinations", title="Destinations", checks=destinations.CHECKS, run=destinations.check),
    Area(name="log", title="Tracking log", checks=tracking_log.CHECKS, run=tracking_log.check),
    Area(name="workers", title="Workers", checks=workers.CHECKS, run=workers.check),
    Area(name="deliveries", title="Deliveries", checks=deliveries.CHECKS, run=deliveries.check),
    Area(name="collector", title="Collector", checks=collector.CHECKS, run=collector.check),
    Area(name="forgetting", title="Forgetting", checks=forgetting.CHECKS, run=forgetting.check),
    Area(name="flower", title="Flower", checks=flower.CHECKS, run=flower.check),
)

# The area in which settings that cannot be used are reported.
_SETTINGS: Final = AREAS[0].name


def examine(
    environ: Mapping[str, str],
    *,
    only: Collection[str] = (),
    quick: bool = False,
    flower_address: str = flower.ADDRESS,
    begin: Callable[[Area], None] = lambda _: None,
) -> list[Finding]:
    """Examine a deployment. Blocks for some seconds, longer if much does not answer. Raises nothing.

    Args:
        environ: The environment variables, from which the settings are read.
        only: The names of the areas to examine; all when empty.
        quick: Leave out what takes longer than a moment.
        flower_address: Where Flower may listen.
        begin: Called with each area before it is examined.

    Returns:
        The findings, those that all is well included, in the order of the areas. If the settings cannot be used, only
        findings about these.
    """
    wanted = [area for area in AREAS if not only or area.name in only]
    begin(AREAS[0])
    loaded, findings = settings.read_settings(environ)
    if loaded is None:
        # Without settings, nothing else can be examined.
        return [*findings, *settings.check_files(environ)]
    deployment = Deployment(loaded.settings, environ=environ, quick=quick, flower=flower_address)
    # Wrong settings show whatever was asked for: they may be the cause of other findings.
    findings = [finding for finding in findings if finding.level != "ok" or not only or _SETTINGS in only]
    try:
        for area in wanted:
            begin(area)
            findings += examine_area(area, deployment)
    finally:
        deployment.close()
    return findings


def examine_area(area: Area, deployment: Deployment) -> list[Finding]:
    """Examine one area. An error in it becomes a finding. May block for seconds; raises nothing."""
    findings: list[Finding] = []
    try:
        findings.extend(area.run(deployment))
    except Exception as error:  # one check that fails must not hide the findings of others
        logger.debug("the examination of %s failed", area.name, exc_info=True)
        what = mask_url(f"its examination failed: {type(error).__name__}: {error}")
        findings.append(Finding(f"{area.name}.failed", "error", what, "report it, with what this machine runs on"))
    return findings
