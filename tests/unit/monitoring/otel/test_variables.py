"""OpenTelemetry's variables: what they switch on, and what is said of those that cannot be used."""

from __future__ import annotations

import pytest

from dispatcher.monitoring.otel.variables import OtelVariables, read_otel

BASE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318/"}


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": " "},
        {"OTEL_SERVICE_NAME": "shop", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_TRACES_SAMPLER": "nonsense"},
        {**BASE, "OTEL_SDK_DISABLED": "TRUE"},
    ],
    ids=["nothing set", "empty", "no endpoint", "disabled"],
)
def test_without_an_endpoint_all_is_off_and_nothing_is_said(environ: dict[str, str]) -> None:
    assert read_otel(environ) == OtelVariables()


def test_the_endpoint_of_all_gets_the_path_of_each_signal() -> None:
    found = read_otel(BASE)

    assert found.metrics is not None
    assert found.traces is not None
    assert (found.metrics.url, found.traces.url) == (
        "http://collector:4318/v1/metrics",
        "http://collector:4318/v1/traces",
    )
    assert found.carries_traces
    assert found.resource == {"service.name": "dispatcher"}
    assert found.problems == ()


def test_what_is_said_of_one_signal_wins_and_is_taken_as_it_stands() -> None:
    found = read_otel(
        {
            **BASE,
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://ann:secret@traces.example.com/in?x=1",
            "OTEL_EXPORTER_OTLP_HEADERS": "api-key=general",
            "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "api-key=of%20traces, x-team = a=b",
            "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "2500",
            "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip",
        }
    )

    assert found.metrics is not None
    assert found.traces is not None
    assert found.traces.url == "https://ann:secret@traces.example.com/in?x=1"
    assert found.traces.label == "traces.example.com"
    assert found.traces.headers == {"api-key": "of traces", "x-team": "a=b"}
    assert found.metrics.headers == {"api-key": "general"}
    assert (found.traces.timeout_seconds, found.metrics.timeout_seconds) == (2.5, 10)
    assert (found.traces.is_compressed, found.metrics.is_compressed) == (True, False)
    assert "of traces" not in repr(found), "headers hold a vendor's key"


def test_each_signal_can_be_switched_off() -> None:
    found = read_otel({**BASE, "OTEL_METRICS_EXPORTER": "none", "OTEL_TRACES_EXPORTER": "otlp,console"})
    assert found.metrics is None
    assert found.traces is not None

    found = read_otel({**BASE, "OTEL_TRACES_EXPORTER": "none"})
    assert found.traces is None
    assert not found.carries_traces


def test_an_app_that_speaks_grpc_keeps_its_traces_in_its_events() -> None:
    found = read_otel({**BASE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})

    assert (found.metrics, found.traces, found.carries_traces) == (None, None, True)
    assert len(found.problems) == 2
    assert "OTEL_EXPORTER_OTLP_PROTOCOL=http/json" in found.problems[0]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "collector:4317", "must be a web address"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "OTEL_EXPORTER_OTLP_TIMEOUT must be a number"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "nan", "OTEL_METRIC_EXPORT_INTERVAL must be a number"),
        ("OTEL_BSP_SCHEDULE_DELAY", "-1", "OTEL_BSP_SCHEDULE_DELAY must be a number"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd", "must be gzip or none"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "secret-value", "name=value pairs"),
        ("OTEL_TRACES_SAMPLER", "jaeger_remote", "OTEL_TRACES_SAMPLER must be one of"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_and_left_out(name: str, value: str, said: str) -> None:
    found = read_otel({**BASE, name: value})

    assert said in found.problems[0]
    assert "secret" not in "".join(found.problems)
    assert found.metrics is not None
    assert (found.metrics.timeout_seconds, found.metric_seconds, found.span_seconds) == (10, 60, 5)


def test_a_fraction_outside_of_0_to_1_is_named() -> None:
    sampler = {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": "2"}
    found = read_otel({**BASE, **sampler})
    assert found.problems == ("OTEL_TRACES_SAMPLER_ARG must be a fraction from 0 to 1: 1 is taken",)
    assert (found.sampler, found.sampler_ratio) == ("parentbased_traceidratio", 1)


def test_the_name_of_the_service_wins_over_that_of_the_resource() -> None:
    attributes = {"OTEL_RESOURCE_ATTRIBUTES": "service.name=a,deployment.environment.name=edge%2C1"}

    assert read_otel({**BASE, **attributes}).resource["service.name"] == "a"
    found = read_otel({**BASE, **attributes, "OTEL_SERVICE_NAME": "b"})
    assert found.resource == {"service.name": "b", "deployment.environment.name": "edge,1"}
