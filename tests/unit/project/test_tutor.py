"""docker/tutor/: Tutor itself takes the plugin and renders with it; what comes out is checked without an engine."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from dispatcher import config
from dispatcher.cli import main
from dispatcher.destinations.options import check_options
from tests.support.waiting import wait_for

pytest.importorskip("tutor")
PLUGIN = Path(__file__).parents[3] / "docker" / "tutor" / "dispatcher.py"
TUTOR = [sys.executable, "-W", "ignore", "-c", "from tutor.commands.cli import main; main()"]
OUTBOX = "/openedx/media-private/dispatcher"
ALWAYS = ["dispatcher-relay", "dispatcher-worker", "dispatcher-flower"]
EMITTING = ["lms", "lms-worker", "cms", "cms-worker"]


@dataclass
class Rendered:
    """What Tutor made of its templates and the plugin."""

    environment: Path

    def text(self, name: str) -> str:
        return (self.environment / name).read_text()

    def services(self) -> dict[str, Any]:
        found = yaml.safe_load(self.text("local/docker-compose.yml").replace("$$", "$"))["services"]
        return {name: found[name] for name in found if name.startswith("dispatcher")}

    def documents(self, name: str) -> list[dict[str, Any]]:
        return [one for one in yaml.safe_load_all(self.text(name)) if one]

    def resources(self) -> dict[tuple[str, str], dict[str, Any]]:
        """All of Kubernetes but the overrides, by kind and name."""
        names = ("deployments", "services", "volumes", "jobs")
        found = [one for name in names for one in self.documents(f"k8s/{name}.yml")]
        assert len({(one["kind"], one["metadata"]["name"]) for one in found}) == len(found)
        return {(one["kind"], one["metadata"]["name"]): one for one in found}


def render(directory: Path, *settings: str, enables: bool = False) -> Rendered:
    """What `tutor config save` makes; with ``enables`` as a person does it, else with the plugin enabled already."""
    plugins, root = directory / "plugins", directory / "root"
    plugins.mkdir(parents=True)
    root.mkdir()
    shutil.copy(PLUGIN, plugins)
    chosen = [word for setting in settings for word in ("--set", setting)]
    steps = [["config", "save", *chosen]]
    if enables:
        steps = [["config", "save"], ["plugins", "enable", "dispatcher"], *steps]
    else:
        (root / "config.yml").write_text("PLUGINS: [dispatcher]\n")
    environ = {**os.environ, "TUTOR_ROOT": str(root), "TUTOR_PLUGINS_ROOT": str(plugins), "HOME": str(directory)}
    for arguments in steps:
        done = subprocess.run([*TUTOR, *arguments], env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return Rendered(root / "env")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return render(tmp_path_factory.mktemp("plain"), enables=True)


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Rendered:
    return render(
        tmp_path_factory.mktemp("full"),
        *("DISPATCHER_RUN_COLLECTOR=true", "DISPATCHER_RUN_REDIS=true", "ENABLE_HTTPS=true"),
        "DISPATCHER_PIP_REQUIREMENT=git+https://git.example.org/dispatcher@main",
        *("LMS_HOST=learn.example.org", "DISPATCHER_SEGMENT_WRITE_KEY=k$$y<&x"),
        'DISPATCHER_SETTINGS={"DESTINATIONS__SEGMENT__EVENTS": ["edx.course.*", "!edx.bi.*"], "debug": true}',
    )


@pytest.fixture(scope="module", params=["plain", "full"])
def rendered(request: pytest.FixtureRequest) -> Rendered:
    found: Rendered = request.getfixturevalue(request.param)
    return found


def test_the_compose_files_follow_the_compose_specification(rendered: Rendered) -> None:
    files = [str(rendered.environment / "local" / name) for name in ("docker-compose.yml", "docker-compose.prod.yml")]
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", *files]
    outcome = subprocess.run(command, capture_output=True, text=True, check=False)
    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_the_services_are_those_that_are_wanted(plain: Rendered, full: Rendered) -> None:
    assert list(plain.services()) == ["dispatcher-redis", *ALWAYS]
    assert list(full.services()) == ["dispatcher-redis", *ALWAYS, "dispatcher-collector"]
    deployments = [name for kind, name in full.resources() if kind == "Deployment" and name.startswith("dispatcher")]
    assert sorted(deployments) == sorted(set(full.services()) - {"dispatcher-relay"})


def test_a_redis_of_the_sites_own_takes_the_place_of_ours(tmp_path: Path) -> None:
    found = render(tmp_path, "DISPATCHER_RUN_REDIS=false", "DISPATCHER_REDIS_URL=redis://cache.example.org/3")
    assert list(found.services()) == ALWAYS
    settings = config.load(found.services()["dispatcher-worker"]["environment"])
    assert settings.broker == "redis://cache.example.org/3"
    assert not [name for _, name in found.resources() if name == "dispatcher-redis"]


def settings_of(rendered: Rendered) -> Iterator[tuple[str, config.Settings]]:
    for name, service in rendered.services().items():
        if name != "dispatcher-redis":
            yield name, config.load(service["environment"])
    secret = rendered.resources()["Secret", "dispatcher"]["stringData"]
    yield "kubernetes", config.load({**secret, "DISPATCHER_STATE_DIRECTORY": OUTBOX})


def test_the_variables_of_every_service_are_settings(rendered: Rendered) -> None:
    for name, settings in settings_of(rendered):
        assert settings.environment == "production", name
        assert settings.broker.endswith("@dispatcher-redis:6379/0"), name
        assert settings.destinations["tracking_log"].options["format"] == "edx", name
        assert check_options(settings) == [], name


def test_segment_gets_events_only_with_a_key(plain: Rendered, full: Rendered) -> None:
    for name, settings in settings_of(plain):
        assert not settings.destinations["segment"].enabled, name
    for name, settings in settings_of(full):
        segment = settings.destinations["segment"]
        assert (segment.enabled, segment.options["write_key"]) == (True, "k$$y<&x"), name
        assert list(segment.events or ()) == ["edx.course.*", "!edx.bi.*"], name
        assert settings.debug is True, name


def test_the_collector_takes_pages_of_the_site_and_knows_their_users(full: Rendered) -> None:
    for _, settings in settings_of(full):
        assert list(settings.sources["openedx"].origins) == [
            *("https://learn.example.org", "https://studio.learn.example.org", "https://*.learn.example.org"),
        ]
        assert settings.collector.user == "dispatcher.contrib.django.collector_user:user_of"
        assert settings.collector.mobile_secret is not None


def test_commands_are_commands(full: Rendered) -> None:
    pods = [one["spec"]["template"]["spec"] for one in full.resources().values() if one["kind"] == "Deployment"]
    containers = [one for pod in pods for one in pod["containers"]]
    commands = [service["command"] for service in full.services().values()]
    commands += [one.get("command") or one.get("args", []) for one in containers]
    ours = [command for command in commands if command[:1] == ["dispatcher"]]
    assert {command[1] for command in ours} == {"relay", "worker", "flower", "collector"}
    for _, *arguments in ours:
        assert CliRunner().invoke(main, [*arguments, "--help"]).exit_code == 0, arguments


def test_the_image_of_the_platform_gets_what_emits_and_no_other_celery(plain: Rendered, full: Rendered) -> None:
    without, with_it = plain.text("build/openedx/Dockerfile"), full.text("build/openedx/Dockerfile")
    # A stranger's package may have the name; so there is no default.
    assert "set DISPATCHER_PIP_REQUIREMENT of Tutor" in without
    assert "set DISPATCHER_PIP_REQUIREMENT of Tutor" not in with_it
    assert "install --no-deps 'git+https://git.example.org/dispatcher@main'" in with_it
    (line,) = re.findall(r"install 'msgspec.*?(?:[^\\]\n)", with_it, re.DOTALL)
    assert set(re.findall(r"'(\w+)>=", line)) == (
        {"msgspec", "pydantic", "httptools", "rich", "starlette", "uvicorn", "uvloop", "zstandard"}
    )


def test_the_web_proxy_leads_to_the_collector_where_there_is_one(plain: Rendered, full: Rendered) -> None:
    assert "dispatcher" not in plain.text("apps/caddy/Caddyfile")
    caddyfile = full.text("apps/caddy/Caddyfile")
    assert "@dispatcher path /event /segmentio/event /v1/* " in caddyfile
    assert "reverse_proxy @dispatcher dispatcher-collector:8090" in caddyfile
    assert full.services()["dispatcher-collector"]["command"][-1] == "8090"


def test_every_container_that_emits_has_its_outbox_where_a_relay_reads_it(rendered: Rendered) -> None:
    settings = rendered.text("apps/openedx/settings/lms/production.py")
    assert f'state_directory="{OUTBOX}"' in settings
    both = {**yaml.safe_load(rendered.text("local/docker-compose.yml"))["services"]}
    both |= yaml.safe_load(rendered.text("local/docker-compose.prod.yml"))["services"]
    both |= yaml.safe_load(rendered.text("local/docker-compose.jobs.yml"))["services"]
    collectors = [name for name in both if name == "dispatcher-collector"]
    for name in (*EMITTING, "lms-job", "cms-job", "dispatcher-relay", *collectors):
        assert "../../data/openedx-media-private:/openedx/media-private:z" in both[name]["volumes"], name
    overrides = {one["metadata"]["name"]: one for one in rendered.documents("k8s/override.yml")}
    assert list(overrides) == EMITTING
    for name, override in overrides.items():
        assert ("Deployment", name) in rendered.resources()
        pod = override["spec"]["template"]["spec"]
        for container in (*pod["containers"], *pod["initContainers"]):
            assert [mount["mountPath"] for mount in container["volumeMounts"]] == [OUTBOX]


def test_what_a_pod_refers_to_is_there(rendered: Rendered) -> None:
    resources = rendered.resources()
    maps = {one["name"] for one in yaml.safe_load(rendered.text("kustomization.yml"))["configMapGenerator"]}
    for (kind, name), resource in resources.items():
        if kind != "Deployment" or not name.startswith("dispatcher"):
            continue
        pod = resource["spec"]["template"]["spec"]
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        for volume in volumes.values():
            if "persistentVolumeClaim" in volume:
                assert ("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]) in resources
                assert resource["spec"]["strategy"] == {"type": "Recreate"}
            if "configMap" in volume:
                assert volume["configMap"]["name"] in maps
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= set(volumes)
            for source in container.get("envFrom", []):
                assert ("Secret", source["secretRef"]["name"]) in resources
    for (kind, name), resource in resources.items():
        if kind == "Service" and name.startswith("dispatcher"):
            pod = resources["Deployment", name]["spec"]["template"]
            assert resource["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
            assert resource["spec"]["ports"][0]["port"] == pod["spec"]["containers"][0]["ports"][0]["containerPort"]


@pytest.mark.parametrize("part", ["lms", "cms"])
def test_the_platforms_settings_hand_events_over(plain: Rendered, part: str, tmp_path: Path) -> None:
    text = plain.text(f"apps/openedx/settings/{part}/production.py")
    found = re.search(r"^# dispatcher\n.*?^sys\.modules.*?$", text, re.MULTILINE | re.DOTALL)
    assert found is not None
    code = f"""
EVENT_TRACKING_BACKENDS = {{"tracking_logs": 1, "segmentio": 2, "xapi": 3}}
{found[0].replace(OUTBOX, str(tmp_path / "state"))}
assert list(EVENT_TRACKING_BACKENDS) == ["xapi", "dispatcher"], EVENT_TRACKING_BACKENDS
from common.djangoapps.track import segment
segment.track(7, "edx.bi.a")
import importlib
module, _, name = EVENT_TRACKING_BACKENDS["dispatcher"]["ENGINE"].rpartition(".")
getattr(importlib.import_module(module), name)().send({{"name": "a.b", "data": {{}}, "context": {{}}}})
assert not {{"celery", "redis", "kombu", "click", "zstandard"}} & set(sys.modules)
"""
    package = tmp_path / "common" / "djangoapps" / "track"
    package.mkdir(parents=True)
    for directory in (package, *package.parents[:2]):
        (directory / "__init__.py").touch()
    environ = {key: value for key, value in os.environ.items() if not key.startswith("DISPATCHER_")}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environ, check=True, timeout=60)
    (journal,) = (tmp_path / "state" / "outbox").glob("*/0*.journal")
    assert b'"a.b"' in journal.read_bytes()
    assert b'"edx.bi.a"' in journal.read_bytes()


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[bytes]]]:
    """Starts a line of shell with a `dispatcher` that only writes down how it was called."""
    stand_in = tmp_path / "dispatcher"
    stand_in.write_text(
        # Long enough for the other shell to know its number.
        '#!/bin/sh\ntrap "echo stopped >> $CALLS; exit 0" TERM\nsleep 0.2\necho "$*" >> "$CALLS"\n'
        '[ "$2" = --once ] && exit 0\nwhile :; do sleep 0.1; done\n'
    )
    stand_in.chmod(0o755)
    environ = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(tmp_path / "calls")}
    started: list[subprocess.Popen[bytes]] = []

    def start(line: str) -> subprocess.Popen[bytes]:
        started.append(subprocess.Popen(["sh", "-c", line], env=environ))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_the_relay_beside_a_pod_ends_once_all_is_moved_on(
    plain: Rendered, tmp_path: Path, shell: Callable[[str], subprocess.Popen[bytes]]
) -> None:
    pod = plain.documents("k8s/override.yml")[0]["spec"]["template"]["spec"]
    (relay,) = pod["initContainers"]
    assert relay["restartPolicy"] == "Always"
    process = shell(relay["command"][-1])
    calls = tmp_path / "calls"
    wait_for(lambda: calls.exists() and calls.read_text() == "relay\n")
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0
    assert calls.read_text() == "relay\nstopped\nrelay --once --timeout 20\n"
    assert pod["terminationGracePeriodSeconds"] > 20
