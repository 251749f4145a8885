"""Are the settings valid and fit for a deployment, and are their credentials hidden from other users?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from dispatcher.config import DEFAULT_ENVIRONMENT, LoadedSettings, Settings, mask_url, read, source_files
from dispatcher.config.collector_secret import missing_secret
from dispatcher.config.environment_file import environment_file, parse_environment
from dispatcher.config.layers import Leaf, file_leaves
from dispatcher.destinations.options import check_options
from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.disk import permission_bits
from dispatcher.doctor.finding import Check, Finding
from dispatcher.errors import SettingsError
from dispatcher.monitoring.otel.variables import read_otel
from dispatcher.secrecy.secret_names import is_secret

VALID: Final = Check(
    "settings.valid",
    "Settings files, `DISPATCHER_` variables (unknown ones too) and the options of every destination.",
    "mend the setting that the line names; `dispatcher settings show` says where each value is set",
)
STRICT: Final = Check(
    "settings.strict",
    "Whether emit raises in the app (`strict`).",
    "set DISPATCHER_STRICT=false outside of development: an event that emit cannot take becomes a dead letter then",
)
ENVIRONMENT: Final = Check(
    "settings.environment",
    "Whether the settings of development have the credentials of a real destination: in development each event of an "
    "allowlist of `*` goes there.",
    "set DISPATCHER_ENV to the environment of this machine, as in its environment file; or leave the credentials out",
)
BROKER: Final = Check(
    "settings.broker",
    "Whether the settings name a Redis of your own, or leave it at the embedded one of `dispatcher up`.",
    "set DISPATCHER_BROKER_URL to the Redis that all machines share",
)
READABLE: Final = Check(
    "settings.readable",
    "Whether every user of the machine can read a settings file, or the environment file, with credentials.",
    "run `chmod o-rwx {file}`, or move the credentials into DISPATCHER_ variables",
)
WRITABLE: Final = Check(
    "settings.writable",
    "Whether every user of the machine can change a settings file.",
    "run `chmod o-w {file}`",
)

OPENTELEMETRY: Final = Check(
    "settings.opentelemetry",
    "Where OpenTelemetry's variables, `OTEL_…`, have metrics and traces sent, and which of them cannot be used.",
    "mend the variable for workers and the exporter; an app whose own SDK needs it as it is keeps it",
)

CHECKS: Final = (VALID, STRICT, ENVIRONMENT, BROKER, READABLE, WRITABLE, OPENTELEMETRY)


def read_settings(environ: Mapping[str, str]) -> tuple[LoadedSettings | None, list[Finding]]:
    """The settings, or None if they cannot be used, and the findings about them."""
    try:
        loaded = read(environ)
        problems = check_options(loaded.settings, loaded.source)
        if (missing := missing_secret(loaded.settings)) is not None:
            problems.append(missing)
    except SettingsError as error:
        return None, [VALID.error(mask_url(problem)) for problem in error.problems]
    if problems:
        return loaded, [VALID.error(mask_url(problem)) for problem in problems]
    listed = ", ".join(file.name for file in loaded.files)
    return loaded, [VALID.ok(f"environment {loaded.settings.environment}; read {listed}")]


def check(deployment: Deployment) -> Iterator[Finding]:
    """The findings about settings that could be read."""
    settings = deployment.settings
    if settings.strict and settings.environment != "development":
        yield STRICT.warning(f"emit raises in {settings.environment}, so that a mistake in an event fails the request")
    else:
        yield STRICT.ok("emit raises, for development" if settings.strict else "emit never raises")
    yield environment(settings)
    if settings.broker_url is None:
        level = BROKER.note if settings.environment == "development" else BROKER.warning
        yield level(f"the embedded Redis of {settings.state_directory} is used, and only this machine can reach it")
    else:
        yield BROKER.ok(mask_url(settings.broker_url))
    yield from check_files(deployment.environ)
    yield from opentelemetry(deployment.environ)


def opentelemetry(environ: Mapping[str, str]) -> Iterator[Finding]:
    """What the variables ask for. A note where one cannot be used, as it may be meant for the app's own SDK."""
    variables = read_otel(environ)
    yield from (OPENTELEMETRY.note(problem) for problem in variables.problems)
    targets = {"metrics": variables.metrics, "traces": variables.traces}
    sent = [f"{signal} to {target.label}" for signal, target in targets.items() if target is not None]
    if sent or not variables.problems:
        yield OPENTELEMETRY.ok(", ".join(sent) or "nothing is sent over OTLP")


def environment(settings: Settings) -> Finding:
    """Whether what is made for a developer's machine reaches people's data elsewhere."""
    if settings.environment != DEFAULT_ENVIRONMENT:
        return ENVIRONMENT.ok(f"the environment is {settings.environment}")
    real = [
        name
        for name, table in settings.served_destinations.items()
        if table.traits.has_stub and all(table.options.get(option) for option in table.traits.needs)
    ]
    if real:
        return ENVIRONMENT.warning(
            f"the environment is {settings.environment}, and {', '.join(real)} has the credentials of a real vendor"
        )
    return ENVIRONMENT.ok(f"the environment is {settings.environment}, without the credentials of a real vendor")


def check_files(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Who may read and change the settings files. Works with wrong settings too."""
    variables = environment_file(environ)
    try:
        paths = [path for path in source_files(environ) if path.is_file()]
    except SettingsError:
        paths = []
    paths += [] if variables is None else [variables]
    yield from (readable(path) for path in paths)
    yield from (writable(path) for path in paths)


def readable(path: Path) -> Finding:
    """Whether every user can read a file with a credential."""
    keys = sorted({".".join(leaf.path) for leaf in _leaves(path) if _is_credential(leaf)})
    if not keys:
        return READABLE.ok(f"{path} holds no credential")
    bits = permission_bits(path) or 0
    if bits & 0o004:
        return READABLE.error(f"{path} holds {', '.join(keys)} and has mode {bits:04o}", file=path)
    return READABLE.ok(f"{path} has mode {bits:04o}")


def writable(path: Path) -> Finding:
    """Whether every user can change the file, and so decide where events go."""
    bits = permission_bits(path) or 0
    if bits & 0o002:
        return WRITABLE.error(f"{path} has mode {bits:04o}", file=path)
    return WRITABLE.ok(f"{path} has mode {bits:04o}")


def _leaves(path: Path) -> list[Leaf]:
    try:
        if path.suffix == ".toml":
            return file_leaves(path)
        variables = parse_environment(path.read_text(encoding="utf-8-sig"), str(path))
    except (SettingsError, OSError, UnicodeDecodeError):
        return []  # settings.valid has reported it
    return [Leaf(tuple(name.lower().split("__")), value, str(path)) for name, value in variables.items()]


def _is_credential(leaf: Leaf) -> bool:
    if isinstance(leaf.value, str) and mask_url(leaf.value) != leaf.value:
        return True
    # In a table of credentials, the keys may be any words.
    return bool(leaf.value) and not isinstance(leaf.value, bool) and any(is_secret(part) for part in leaf.path)
