"""docker/: what can be checked of the image and the Compose file without an engine to run them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
import yaml

from dispatcher import config
from dispatcher.cli import main
from dispatcher.destinations.options import check_options

ROOT = Path(__file__).parents[3]
DOCKERFILE = ROOT / "docker" / "Dockerfile"
COMPOSE = ROOT / "docker" / "compose.yaml"
#: What an operator has to set, and what is all that has to be set.
OPERATOR = {"FLOWER_BASIC_AUTH": "ops:secret", "REDIS_PASSWORD": "r3d15", "GRAFANA_PASSWORD": "gr4f4n4"}
OURS = ["web", "relay", "collector", "worker-tracking-log", "worker-http", "flower", "board", "exporter"]
#: Of others, and only with the profile: most sites have theirs already.
MONITORING = ["prometheus", "grafana"]
#: Started by hand as often as an operator likes.
SCALED = OURS

_VARIABLE = re.compile(r"\$(?:\$|\{(\w+)(?:(:-|:\?)([^}]*))?\})")


class RequiredVariableError(Exception):
    """Compose stops here, since a variable that must be set is not."""


def interpolate(text: str, environ: dict[str, str]) -> str:
    """As Compose does, for the forms that the file uses."""

    def value(match: re.Match[str]) -> str:
        name, rule, words = match.groups()
        if name is None:
            return "$"
        if environ.get(name):
            return environ[name]
        if rule == ":?":
            raise RequiredVariableError(f"{name}: {words}")
        return words or ""

    return _VARIABLE.sub(value, text)


def compose(environ: dict[str, str] = OPERATOR) -> dict[str, Any]:
    return yaml.safe_load(interpolate(COMPOSE.read_text(), environ))


def service(name: str) -> dict[str, Any]:
    return compose()["services"][name]


def settings_of(name: str) -> config.Settings:
    return config.load(service(name)["environment"])


def mounts(name: str) -> dict[str, str]:
    """Volume by where it is mounted."""
    pairs = (volume.split(":") for volume in service(name).get("volumes", []))
    return {target: source for source, target, *_ in pairs}


def volume_over(name: str, path: Path) -> str | None:
    """The volume in which a service keeps a path."""
    return next((source for target, source in mounts(name).items() if path.is_relative_to(target)), None)


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and what follows each, on one line."""
    lines = [line for line in DOCKERFILE.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = "\n".join(lines).replace("\\\n", " ")
    return [(keyword, rest) for keyword, _, rest in (line.partition(" ") for line in joined.splitlines()) if keyword]


def said(keyword: str) -> list[str]:
    return [rest.strip() for found, rest in instructions() if found == keyword]


def copied() -> set[str]:
    """What the image takes from the checkout."""
    sources: set[str] = set()
    for arguments in said("COPY"):
        if not arguments.startswith("--from"):
            sources.update(shlex.split(arguments)[:-1])
    return sources


def test_the_compose_file_follows_the_compose_specification():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]

    outcome = subprocess.run(command, capture_output=True, text=True, check=False)

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_the_dockerfile_passes_its_linter():
    hadolint = Path(sys.executable).with_name("hadolint")

    outcome = subprocess.run([hadolint, "--no-color", DOCKERFILE], capture_output=True, text=True, check=False)

    assert outcome.returncode == 0, outcome.stdout + outcome.stderr


def test_the_compose_file_has_the_documented_services():
    assert set(compose()["services"]) == {"redis", *OURS, *MONITORING}
    assert [name for name in compose()["services"] if "profiles" in service(name)] == [
        "collector",
        "board",
        *MONITORING,
    ]


@pytest.mark.parametrize("name", OPERATOR)
def test_nothing_starts_until_every_password_is_set(name):
    with pytest.raises(RequiredVariableError, match=name):
        compose({key: value for key, value in OPERATOR.items() if key != name})


def test_redis_lets_nobody_in_without_the_operators_password():
    command = service("redis")["command"]

    assert command[command.index("--requirepass") + 1] == OPERATOR["REDIS_PASSWORD"]
    assert service("redis")["environment"] == {"REDISCLI_AUTH": OPERATOR["REDIS_PASSWORD"]}


def test_no_password_has_a_default():
    texts = [COMPOSE.read_text(), *(path.read_text() for path in COMPOSE.parent.glob("grafana/provisioning/**/*.yaml"))]

    assert [text for text in texts if re.search(r"\w*(PASSWORD|AUTH|SECRET)\w*:-[^}]", text)] == []


@pytest.mark.parametrize("name", OURS)
def test_our_services_share_one_image_and_have_least_privileges(name):
    found = service(name)

    assert found["image"] == "dispatcher"
    assert found["build"] == {"context": "..", "dockerfile": "docker/Dockerfile"}
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert "user" not in found
    assert "privileged" not in found


@pytest.mark.parametrize("name", ["redis", *OURS, *MONITORING])
def test_every_service_restarts_and_has_time_to_stop(name):
    found = service(name)

    assert found["restart"] == "unless-stopped"
    assert int(found["stop_grace_period"].removesuffix("s")) > 10  # docker's own default


@pytest.mark.parametrize("name", SCALED)
def test_our_services_can_be_scaled(name):
    found = service(name)

    assert "container_name" not in found
    for port in found.get("ports", []):
        host = port.rpartition(":")[0]
        assert host == "" or "-" in host, f"{port}: a second container could not have the same port"


@pytest.mark.parametrize("name", [name for name in OURS if name not in ("web", "collector", "board", "exporter")])
def test_services_that_need_redis_wait_until_it_answers(name):
    assert service(name)["depends_on"] == {"redis": {"condition": "service_healthy"}}
    assert "healthcheck" in service("redis")


@pytest.mark.parametrize("name", ["web", "collector", "board", "exporter"])
def test_services_that_work_without_redis_do_not_wait_for_it(name):
    assert "depends_on" not in service(name)


@pytest.mark.parametrize("name", ["redis", *MONITORING])
def test_images_of_others_have_a_version_and_a_digest(name):
    assert re.fullmatch(r"[\w/]+:v?\d+(\.\d+)+[\w.-]*@sha256:[0-9a-f]{64}", service(name)["image"])


@pytest.mark.parametrize("name", ["redis", *OURS, *MONITORING])
def test_ports_are_open_to_this_machine_only_by_default(name):
    assert all(port.startswith("127.0.0.1:") for port in service(name).get("ports", []))


def test_redis_persists_its_data_and_evicts_nothing():
    command = " ".join(service("redis")["command"])

    assert "--appendonly yes" in command
    assert "--appendfsync everysec" in command
    assert "--maxmemory-policy noeviction" in command
    assert mounts("redis") == {"/data": "redis"}


@pytest.mark.parametrize("name", OURS)
def test_every_dispatcher_command_is_valid(name, monkeypatch):
    program, *arguments = service(name)["command"]
    monkeypatch.setenv("FLOWER_BASIC_AUTH", OPERATOR["FLOWER_BASIC_AUTH"])

    if program == "dispatcher":
        name_of_command, *options = arguments
        main.commands[name_of_command].make_context(name_of_command, options)
    else:
        assert program == "gunicorn"


def test_gunicorn_finds_the_sample_app_and_accepts_its_options(tmp_path):
    program, *arguments = service("web")["command"]

    outcome = subprocess.run(
        [sys.executable, "-m", program, "--check-config", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize("name", OURS)
def test_the_variables_of_every_service_are_settings(name):
    settings = settings_of(name)

    assert settings.environment == "production"
    assert settings.broker == f"redis://:{OPERATOR['REDIS_PASSWORD']}@redis:6379/0"
    assert check_options(settings) == []


def test_the_operators_segment_write_key_reaches_its_worker():
    found = compose({**OPERATOR, "SEGMENT_WRITE_KEY": "their-key"})["services"]

    with_key = {
        name
        for name in OURS
        if config.load(found[name]["environment"]).destinations["segment"].options.get("write_key") == "their-key"
    }

    assert with_key == {"worker-http"}


def test_every_destination_has_a_worker():
    served: set[str] = set()
    for name in OURS:
        command = service(name)["command"]
        if "--queues" in command:
            served.update(command[command.index("--queues") + 1].split(","))

    assert served == {name for name, table in settings_of("web").destinations.items() if table.enabled}


def test_the_relay_sees_the_outboxes_of_the_web_app():
    outboxes = settings_of("web").outbox_directory

    assert outboxes == settings_of("relay").outbox_directory
    assert volume_over("web", outboxes) == volume_over("relay", outboxes) == "outbox"


def test_the_exporter_sees_the_outboxes_of_the_web_app_and_can_lock_them():
    outboxes = settings_of("exporter").outbox_directory

    assert outboxes == settings_of("web").outbox_directory
    assert volume_over("exporter", outboxes) == "outbox"
    assert "outbox:/var/lib/dispatcher" in service("exporter")["volumes"]  # not :ro


def test_the_tracking_log_is_in_a_volume():
    path = Path(settings_of("worker-tracking-log").destinations["tracking_log"].options["path"])

    assert volume_over("worker-tracking-log", path) == "tracking-log"


def test_every_volume_is_declared():
    used = {source for name in compose()["services"] for source in mounts(name).values()}
    files = {source for source in used if source.startswith("./")}

    assert used - files == set(compose()["volumes"])
    assert all((COMPOSE.parent / path).exists() for path in files)


def test_every_mounted_directory_is_made_in_the_image_for_its_user():
    made = next(rest for rest in said("RUN") if "install --directory" in rest)

    for name in OURS:
        for target in mounts(name):
            assert target in shlex.split(made)
    assert "--owner=10001" in made


def test_the_image_has_one_base_with_a_version_and_a_digest():
    assert {rest.split()[0] for rest in said("FROM")} == {"$PYTHON"}
    assert [re.sub("[0-9a-f]{64}$", "DIGEST", rest) for rest in said("ARG")] == [
        "PYTHON=python:3.12.14-slim-bookworm@sha256:DIGEST"
    ]


def test_the_image_is_built_of_what_was_tested():
    [wheels] = [rest for rest in said("RUN") if "pip wheel" in rest]

    assert "--constraint constraints.txt" in wheels
    assert "constraints.txt" in copied()


def test_the_image_runs_as_a_user_that_is_a_number_other_than_zero():
    stages = [position for position, (keyword, _) in enumerate(instructions()) if keyword == "FROM"]
    users = [rest for keyword, rest in instructions()[stages[-1] :] if keyword == "USER"]

    assert users == ["10001:10001"]


def test_the_command_itself_becomes_process_1():
    assert said("CMD") == ['["dispatcher", "worker"]']
    assert said("ENTRYPOINT") == []


def test_the_image_holds_no_credentials():
    words = " ".join(said("ENV") + said("ARG")).upper()

    assert not re.search(r"KEY|SECRET|PASSWORD|TOKEN|AUTH", words)


def test_all_files_that_the_image_copies_exist_and_reach_the_builder():
    ignore = DOCKERFILE.with_name("Dockerfile.dockerignore").read_text().splitlines()

    assert "*" in ignore
    for source in copied():
        assert (ROOT / source).exists(), source
        assert f"!{source}" in ignore, source


def test_the_image_has_what_its_services_need():
    assert "'.[board,collector,flower,matches,metrics]'" in " ".join(said("RUN"))


def test_the_image_copies_every_file_of_the_wheel():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    needed = {
        "pyproject.toml",
        project["project"]["readme"],
        *project["project"]["license-files"],
        *wheel["packages"],
        # What links of the package lead to.
        *(path.resolve().name for path in (ROOT / "dispatcher").iterdir() if path.is_symlink()),
    }

    assert needed <= copied()


def test_every_stage_is_built_before_it_is_copied_from():
    known: set[str] = set()
    for keyword, rest in instructions():
        if keyword == "FROM" and " AS " in rest:
            known.add(rest.split(" AS ")[1].strip())
        if keyword == "COPY" and rest.startswith("--from="):
            assert PurePosixPath(rest.split()[0].removeprefix("--from=")).name in known
