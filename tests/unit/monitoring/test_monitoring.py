"""docker/prometheus and docker/grafana: rules and dashboard use what the exporter prints, and their links work."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import promql_parser as promql
import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from dispatcher.cli.exporter import DEFAULT_PORT
from dispatcher.monitoring.exporter import SnapshotCollector
from dispatcher.monitoring.latest_snapshot import LatestSnapshot
from tests.support.snapshots import troubled

ROOT: Final = Path(__file__).parents[3]
PROMETHEUS: Final = ROOT / "docker" / "prometheus"
GRAFANA: Final = ROOT / "docker" / "grafana"
MONITORING: Final = ROOT / "docs" / "how-to" / "monitoring.md"
RULE_TESTS: Final = ROOT / "tests" / "support" / "alerts.test.yml"

#: What Prometheus adds by itself.
_OF_PROMETHEUS: Final = {"up": {"job"}, "ALERTS": {"alertname", "alertstate", "severity", "destination"}}
_TARGET_LABELS: Final = {"job", "instance"}
# The variables that Grafana puts into a query itself.
_INTERVALS: Final = {"$__rate_interval": "5m", "$__interval": "1m", "$__range": "1h"}


def printed() -> dict[str, set[str]]:
    """The metrics that the exporter really prints for a site that has everything, with their labels."""
    registry = CollectorRegistry()
    registry.register(SnapshotCollector(LatestSnapshot(troubled, max_age_seconds=0)))
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(generate_latest(registry).decode()):
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GRAFANA / "dashboards" / "dispatcher.json").read_text())
    return found


def panels() -> list[dict[str, Any]]:
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Every query with what it belongs to."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in dashboard()["annotations"]["list"]:
        yield annotation["name"], annotation["expr"]


def parsed(query: str) -> promql.Expr:
    for variable, interval in _INTERVALS.items():
        query = query.replace(variable, interval)
    return promql.parse(query)


def selectors(query: str) -> list[promql.VectorSelector]:
    """Every metric that a query reads, with its matchers."""
    found: list[promql.VectorSelector] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql.VectorSelector):
            found.append(node)
        return True

    promql.walk(parsed(query), visit)
    return found


def test_an_invalid_query_would_be_noticed() -> None:
    with pytest.raises(ValueError, match="parenthesis"):
        parsed("sum by (destination (x)")
    [selector] = selectors('max by (a) (rate(dispatcher_up{job="x"}[$__rate_interval])) > 0')
    assert selector.name == "dispatcher_up"
    assert [matcher.name for matcher in selector.matchers.matchers] == ["job"]


@pytest.mark.parametrize(("owner", "query"), list(queries()))
def test_every_query_uses_existing_metrics_and_labels(owner: str, query: str) -> None:
    known = {**printed(), **_OF_PROMETHEUS}
    read = selectors(query)

    assert read, owner
    for selector in read:
        assert selector.name in known, f"{owner} reads {selector.name}"
        labels = known[selector.name] | _TARGET_LABELS
        assert {matcher.name for matcher in selector.matchers.matchers} <= labels, f"{owner}: {selector.name}"


@pytest.mark.parametrize(("owner", "query"), list(queries()))
def test_values_that_all_exporters_share_are_counted_once(owner: str, query: str) -> None:
    """With exporters on ten machines, a plain sum over what they say of a destination is ten times too much."""
    assert "sum" not in query or "(max by" in query, f"{owner} adds up exporters"
    per_destination = any("destination" in printed().get(selector.name or "", set()) for selector in selectors(query))
    assert not per_destination or "max" in query, owner


def test_every_label_in_a_grouping_or_legend_exists() -> None:
    for panel in panels():
        for target in panel["targets"]:
            labels = _TARGET_LABELS.union(*(printed()[selector.name or ""] for selector in selectors(target["expr"])))
            for group in re.findall(r"by \(([^)]*)\)", target["expr"]):
                assert {label.strip() for label in group.split(",")} <= labels, panel["title"]
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= labels, panel["title"]


# Alert rules


def test_every_alert_has_a_severity_a_summary_and_a_runbook() -> None:
    assert rules()
    for rule in rules():
        assert re.fullmatch(r"Dispatcher[A-Z][A-Za-z]+", rule["alert"])
        assert rule["labels"]["severity"] in {"warning", "critical"}, rule["alert"]
        assert rule["annotations"]["summary"].endswith("."), rule["alert"]
        page, _, anchor = rule["annotations"]["runbook"].partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / page).read_text(), re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in anchors, f"{rule['alert']} leads to {page}#{anchor}"


def test_alert_names_are_unique() -> None:
    names = [rule["alert"] for rule in rules()]

    assert len(names) == len(set(names))


def test_every_label_in_a_summary_is_left_by_its_query() -> None:
    for rule in rules():
        shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        groups = re.findall(r"by \(([^)]*)\)", rule["expr"])
        left = {label.strip() for label in groups[0].split(",")} if groups else _TARGET_LABELS
        assert shown <= left, rule["alert"]


def test_the_documentation_lists_every_alert_with_its_severity() -> None:
    rows = dict(re.findall(r"^\| (Dispatcher\w+) \|.*\| (\w+) \|$", MONITORING.read_text(), re.MULTILINE))

    assert rows == {rule["alert"]: rule["labels"]["severity"] for rule in rules()}


promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is in Debian's package prometheus")


@promtool
def test_promtool_accepts_the_rules_and_the_configuration(tmp_path: Path) -> None:
    shutil.copy(PROMETHEUS / "alerts.yml", tmp_path)
    text = (PROMETHEUS / "prometheus.yml").read_text().replace("/etc/prometheus", str(tmp_path))
    (tmp_path / "prometheus.yml").write_text(text)

    done = subprocess.run(
        ["promtool", "check", "config", tmp_path / "prometheus.yml"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


@promtool
def test_the_alerts_fire_only_when_they_should(tmp_path: Path) -> None:
    shutil.copy(PROMETHEUS / "alerts.yml", tmp_path)
    shutil.copy(RULE_TESTS, tmp_path)

    done = subprocess.run(
        ["promtool", "test", "rules", tmp_path / RULE_TESTS.name], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    tested = {
        case["alertname"]
        for group in yaml.safe_load(RULE_TESTS.read_text())["tests"]
        for case in group["alert_rule_test"]
        if case.get("exp_alerts")
    }

    assert tested == {rule["alert"] for rule in rules()}


# Prometheus and Grafana


def test_prometheus_scrapes_the_exporter_of_compose_under_the_rules_job_name() -> None:
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    targets = {
        job["job_name"]: [target for group in job["static_configs"] for target in group["targets"]]
        for job in config["scrape_configs"]
    }
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]

    assert targets["dispatcher"] == [f"exporter:{DEFAULT_PORT}"]
    for found in targets.values():
        assert {target.partition(":")[0] for target in found} <= set(services)
    assert config["rule_files"] == ["/etc/prometheus/alerts.yml"]
    assert "./prometheus/alerts.yml:/etc/prometheus/alerts.yml:ro" in services["prometheus"]["volumes"]


def test_grafana_finds_prometheus_and_the_dashboard_where_compose_puts_them() -> None:
    services = yaml.safe_load((ROOT / "docker" / "compose.yaml").read_text())["services"]
    provisioning = GRAFANA / "provisioning"
    [source] = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    [provider] = yaml.safe_load((provisioning / "dashboards" / "dispatcher.yml").read_text())["providers"]

    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in services["grafana"]["volumes"]
    assert "./grafana/provisioning:/etc/grafana/provisioning:ro" in services["grafana"]["volumes"]


def test_the_dashboard_can_be_imported_anywhere() -> None:
    found = dashboard()

    assert (found["uid"], found["title"]) == ("dispatcher", "dispatcher")
    assert "id" not in found
    assert found["schemaVersion"] >= 36
    variables = {variable["name"]: variable for variable in found["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(found))) - {name.removeprefix("$") for name in _INTERVALS}
    assert used <= {*variables, "__all"}
    for panel in panels():
        for target in (panel, *panel["targets"]):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, panel["title"]


def test_every_panel_has_a_title_a_description_a_unit_and_its_own_place() -> None:
    cells: set[tuple[int, int]] = set()
    ids = [panel["id"] for panel in dashboard()["panels"]]
    assert len(ids) == len(set(ids))
    for panel in panels():
        assert panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        place = panel["gridPos"]
        own = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24, panel["title"]
        assert not own & cells, panel["title"]
        cells |= own


def test_the_variables_of_the_dashboard_read_metrics_that_exist() -> None:
    for variable in dashboard()["templating"]["list"]:
        if variable["type"] == "query":
            found = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"])
            assert found is not None
            assert found[2] in printed()[found[1]] | _TARGET_LABELS
