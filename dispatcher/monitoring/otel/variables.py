"""Variables: what OpenTelemetry's own variables ask for. They are not settings of ours: apps and collectors share them.

Names, defaults and units are those of https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
and https://opentelemetry.io/docs/specs/otel/protocol/exporter/. A value that cannot be used is named and left out: the
specification wants no process to end for one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias
from urllib.parse import unquote, urlsplit

Signal: TypeAlias = Literal["metrics", "traces"]

#: The one form that is sent: OTLP as JSON over HTTP.
PROTOCOL: Final = "http/json"
_SAMPLERS: Final = ("always_on", "always_off", "traceidratio")
_PARENT: Final = "parentbased_"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpTarget:
    """Where one signal goes.

    Args:
        url: The whole URL, such as ``http://localhost:4318/v1/traces``.
        headers: What requests carry, such as a vendor's key. Never shown.
        timeout_seconds: How long one request may take.
        is_compressed: Whether bodies are compressed with gzip.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    timeout_seconds: float = 10.0
    is_compressed: bool = False

    @property
    def label(self) -> str:
        """What logs call it: the host, and neither path nor credentials."""
        return urlsplit(self.url).netloc.rpartition("@")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class OtelVariables:
    """What the variables say. Without any of them everything is off.

    Args:
        carries_traces: Whether events keep the trace of their request. So in web processes too, whose own SDK may send
            in another form.
        metrics: Where metrics go; None for nowhere.
        traces: Where spans go; None for nowhere.
        resource: The attributes that say who sends.
        metric_seconds: Between two pushes of the metrics.
        span_seconds: Between two requests with spans.
        span_queue: Spans that wait at most; what comes beyond is dropped.
        span_batch: Spans in one request at most.
        sampler: The name of the sampler; empty where none is set.
        sampler_ratio: The fraction of ``traceidratio``.
        problems: What cannot be used, in a sentence each.
    """

    carries_traces: bool = False
    metrics: OtlpTarget | None = None
    traces: OtlpTarget | None = None
    resource: Mapping[str, str] = field(default_factory=dict)
    metric_seconds: float = 60.0
    span_seconds: float = 5.0
    span_queue: int = 2048
    span_batch: int = 512
    sampler: str = ""
    sampler_ratio: float = 1.0
    problems: tuple[str, ...] = ()


def read_otel(environ: Mapping[str, str]) -> OtelVariables:
    """Read the variables. Pure; raises nothing."""
    return _Reader(environ).read()


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        # An empty value is the same as none, by the specification.
        self._values = {name: value.strip() for name, value in environ.items() if name.startswith("OTEL_")}
        self._problems: list[str] = []

    def read(self) -> OtelVariables:
        if not self._endpoint("metrics") and not self._endpoint("traces"):
            return OtelVariables()
        if self._get("OTEL_SDK_DISABLED").lower() == "true":
            return OtelVariables()
        sampler, ratio = self._sampler()
        batch = int(self._number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 512))
        return OtelVariables(
            carries_traces=bool(self._endpoint("traces")) and "none" not in self._exporters("traces"),
            metrics=self._target("metrics"),
            traces=self._target("traces"),
            resource=self._resource(),
            metric_seconds=self._number("OTEL_METRIC_EXPORT_INTERVAL", 60_000) / 1000,
            span_seconds=self._number("OTEL_BSP_SCHEDULE_DELAY", 5_000) / 1000,
            span_queue=max(batch, int(self._number("OTEL_BSP_MAX_QUEUE_SIZE", 2048))),
            span_batch=batch,
            sampler=sampler,
            sampler_ratio=ratio,
            problems=tuple(self._problems),
        )

    def _get(self, name: str) -> str:
        return self._values.get(name, "")

    def _of(self, signal: Signal, rest: str) -> tuple[str, str]:
        """The variable of one signal, or else that of all, and its value."""
        own, common = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{rest}", f"OTEL_EXPORTER_OTLP_{rest}"
        return (own, self._get(own)) if self._get(own) else (common, self._get(common))

    def _endpoint(self, signal: Signal) -> str:
        own = self._get(f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT")
        base = self._get("OTEL_EXPORTER_OTLP_ENDPOINT")
        return own or (f"{base.rstrip('/')}/v1/{signal}" if base else "")

    def _exporters(self, signal: Signal) -> set[str]:
        given = self._get(f"OTEL_{signal.upper()}_EXPORTER") or "otlp"
        return {name.strip().lower() for name in given.split(",")}

    def _target(self, signal: Signal) -> OtlpTarget | None:
        url = self._endpoint(signal)
        if not url or "otlp" not in self._exporters(signal):
            return None
        name, protocol = self._of(signal, "PROTOCOL")
        if protocol not in ("", PROTOCOL):
            self._problems.append(
                f"{name} is {protocol[:40]!r}, and dispatcher sends {PROTOCOL} only: no {signal} are sent; set "
                f"{name}={PROTOCOL} for dispatcher's own processes, and the collector's port for HTTP, mostly 4318"
            )
            return None
        if not _is_web_address(url):
            variable, _ = self._of(signal, "ENDPOINT")
            self._problems.append(
                f"{variable} must be a web address such as http://localhost:4318: no {signal} are sent"
            )
            return None
        compression, form = self._of(signal, "COMPRESSION")
        if form not in ("", "none", "gzip"):
            self._problems.append(f"{compression} must be gzip or none: {signal} are not compressed")
        return OtlpTarget(
            url=url,
            headers=self._headers(signal),
            timeout_seconds=self._number(self._of(signal, "TIMEOUT")[0], 10_000) / 1000,
            is_compressed=form == "gzip",
        )

    def _headers(self, signal: Signal) -> dict[str, str]:
        variable, text = self._of(signal, "HEADERS")
        return self._pairs(variable, text)

    def _resource(self) -> dict[str, str]:
        given = self._pairs("OTEL_RESOURCE_ATTRIBUTES", self._get("OTEL_RESOURCE_ATTRIBUTES"))
        name = self._get("OTEL_SERVICE_NAME") or given.get("service.name") or "dispatcher"
        return given | {"service.name": name}

    def _pairs(self, variable: str, text: str) -> dict[str, str]:
        """``name=value,name=value``, with values as in a URL, as W3C's Baggage has them."""
        pairs = {}
        for member in filter(None, (member.strip() for member in text.split(","))):
            name, equals, value = member.partition("=")
            if not equals or not name.strip():
                self._problems.append(f"{variable} must be name=value pairs with commas between them: one is left out")
                continue
            pairs[unquote(name.strip())] = unquote(value.strip())
        return pairs

    def _number(self, variable: str, default: int) -> float:
        text = self._get(variable)
        if not text:
            return default
        try:
            number = float(text)
            # The longest is a day in milliseconds, so that no wait overflows; also false for NaN.
            if 1 <= number <= 86_400_000:
                return number
        except ValueError:
            pass
        self._problems.append(f"{variable} must be a number from 1 to 86400000: {default} is taken")
        return default

    def _sampler(self) -> tuple[str, float]:
        sampler = self._get("OTEL_TRACES_SAMPLER").lower()
        if sampler.removeprefix(_PARENT) not in ("", *_SAMPLERS):
            names = ", ".join((*_SAMPLERS, *(f"{_PARENT}{name}" for name in _SAMPLERS)))
            self._problems.append(f"OTEL_TRACES_SAMPLER must be one of {names}: it is left out")
            sampler = ""
        ratio = 1.0
        text = self._get("OTEL_TRACES_SAMPLER_ARG")
        if sampler.endswith("traceidratio") and text:
            try:
                given = float(text)
            except ValueError:
                given = -1.0
            if 0 <= given <= 1:
                ratio = given
            else:
                self._problems.append("OTEL_TRACES_SAMPLER_ARG must be a fraction from 0 to 1: 1 is taken")
        return sampler, ratio


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
