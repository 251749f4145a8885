"""MetricsPusher: pushes what Prometheus would scrape over OTLP, under the same names, so that alerts fit both."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from dispatcher.monitoring.latest_snapshot import LatestSnapshot
from dispatcher.monitoring.metrics import DEFINITIONS
from dispatcher.monitoring.otel.client import OtlpClient
from dispatcher.monitoring.otel.otlp_json import attribute, encode_metrics, resource_of
from dispatcher.monitoring.otel.variables import OtelVariables

if TYPE_CHECKING:
    from dispatcher.monitoring.definition import Definition
    from dispatcher.monitoring.snapshot import Snapshot

logger = logging.getLogger(__name__)

# Number of OTLP's enum AggregationTemporality: each value is the sum since the start.
_CUMULATIVE: Final = 2
# What the end of a name says of its unit, in UCUM's words (https://opentelemetry.io/docs/specs/semconv/general/metrics/).
_UNITS: Final = {"_seconds": "s", "_bytes": "By"}
# Seconds between two lines of the log about a collector that takes nothing.
_LOG_SECONDS: Final = 300.0
# Seconds that the last push has, at the end.
_STOP_SECONDS: Final = 2.0


class MetricsPusher:
    """Takes a snapshot in each interval and pushes it, from a thread of its own. For one start.

    A push that fails is not repeated: the next one has all of it, since counters are sums.

    Args:
        latest: Gives the snapshots; may block.
        variables: With a target for metrics.
    """

    def __init__(self, latest: LatestSnapshot, variables: OtelVariables) -> None:
        assert variables.metrics is not None
        self._latest = latest
        self._target = variables.metrics
        self._client = OtlpClient(variables.metrics)
        self._seconds = variables.metric_seconds
        self._resource = resource_of(variables.resource, role="exporter")
        self._form = MetricForm()
        self._stopping = threading.Event()
        self._logged_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name="dispatcher-metrics", daemon=True)

    @property
    def url(self) -> str:
        """What is printed at the start: where it pushes to, without path and credentials."""
        return f"pushing metrics to {self._target.label}"

    def start(self) -> None:
        """Begin with a push. Returns at once."""
        self._thread.start()

    def stop(self) -> None:
        """Push once more, for up to two seconds. May be called twice."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def push(self) -> str:
        """Push a snapshot now. Blocks. Returns why that failed; empty if it did not."""
        metrics = self._form.metrics_of(self._latest.get())
        return self._client.send(encode_metrics(metrics, self._resource)).problem

    def _run(self) -> None:
        while True:
            is_last = self._stopping.is_set()
            try:
                problem = self.push()
            except Exception:
                logger.exception("metrics could not be pushed")
            else:
                self._log(problem)
            if is_last:
                return
            self._stopping.wait(self._seconds)

    def _log(self, problem: str) -> None:
        if not problem:
            if self._logged_at > float("-inf"):
                logger.warning("metrics are pushed to %s again", self._target.label)
            self._logged_at = float("-inf")
        elif time.monotonic() - self._logged_at >= _LOG_SECONDS:
            self._logged_at = time.monotonic()
            logger.warning("metrics are not pushed: %s; the next push has all of them", problem)


class MetricForm:
    """Puts snapshots into OTLP's form. For one thread: it remembers where each counter's sum began."""

    def __init__(self) -> None:
        # Of each series its last value, and the time that its sum is told from.
        self._series: dict[tuple[str, tuple[str, ...]], tuple[float, str]] = {}
        self._before = ""

    def metrics_of(self, snapshot: Snapshot) -> list[dict[str, Any]]:
        """Its metrics; those without a value are left out."""
        at = str(int(snapshot.at * 1e9))
        metrics = [self._metric(definition, snapshot, at) for definition in DEFINITIONS]
        self._before = at
        return [metric for metric in metrics if _points_of(metric)]

    def _metric(self, definition: Definition, snapshot: Snapshot, at: str) -> dict[str, Any]:
        points = []
        for labels, value in definition.samples(snapshot):
            attributes = [attribute(*pair) for pair in zip(definition.labels, labels, strict=True)]
            point = {"attributes": attributes, "timeUnixNano": at, "asDouble": float(value)}
            if definition.type == "counter":
                point["startTimeUnixNano"] = self._start(definition.name, labels, value, at)
            points.append(point)
        metric = {"name": definition.name, "description": definition.help, "unit": _unit_of(definition.name)}
        if definition.type == "gauge":
            return {**metric, "gauge": {"dataPoints": points}}
        total = {"dataPoints": points, "aggregationTemporality": _CUMULATIVE, "isMonotonic": True}
        return {**metric, "sum": total}

    def _start(self, name: str, labels: tuple[str, ...], value: float, at: str) -> str:
        """Since when a counter is told. The ledger is older than this process, which first saw it with some value."""
        last, start = self._series.get((name, labels), (value, at))
        if value < last:  # the ledger started over, since Redis lost it
            start = self._before or at
        self._series[name, labels] = (value, start)
        return start


def _points_of(metric: Mapping[str, Any]) -> Sequence[Any]:
    points: Sequence[Any] = metric.get("gauge", metric.get("sum"))["dataPoints"]
    return points


def _unit_of(name: str) -> str:
    return next((unit for ending, unit in _UNITS.items() if name.removesuffix("_total").endswith(ending)), "")
