"""Are the settings right, fit for a deployment, and hidden from those whom their credentials do not concern?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from dispatcher.config import Reading, check_options, masked_url, read, source_files
from dispatcher.config.layers import Leaf, file_leaves
from dispatcher.config.masking import is_secret
from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.disk import mode
from dispatcher.doctor.finding import Check, Finding
from dispatcher.errors import SettingsError

VALID: Final = Check(
    "settings.valid",
    "Settings files, `DISPATCHER_` variables (unknown ones too) and every destination's own options.",
    "mend the setting that the line names; `dispatcher settings show` says who set what",
)
STRICT: Final = Check(
    "settings.strict",
    "`strict`, with which emit raises in the app.",
    "set DISPATCHER_STRICT=false outside of development: what cannot be taken then becomes a dead letter",
)
BROKER: Final = Check(
    "settings.broker",
    "Whether a Redis of your own is named, or the embedded one of `dispatcher up` is meant.",
    "set DISPATCHER_BROKER_URL to the Redis that all machines share",
)
READABLE: Final = Check(
    "settings.readable",
    "Settings files with credentials that every user of the machine can read.",
    "run `chmod o-rwx {file}`, or move the credentials into DISPATCHER_ variables",
)
WRITABLE: Final = Check(
    "settings.writable",
    "Settings files that every user of the machine can change.",
    "run `chmod o-w {file}`",
)

CHECKS: Final = (VALID, STRICT, BROKER, READABLE, WRITABLE)


def read_settings(environ: Mapping[str, str]) -> tuple[Reading | None, list[Finding]]:
    """The settings, where they can be used at all, and what is wrong with them."""
    try:
        reading = read(environ)
        problems = check_options(reading.settings, reading.source)
    except SettingsError as error:
        return None, [VALID.error(masked_url(problem)) for problem in error.problems]
    if problems:
        return reading, [VALID.error(masked_url(problem)) for problem in problems]
    listed = ", ".join(file.name for file in reading.files)
    return reading, [VALID.ok(f"environment {reading.settings.environment}; read {listed}")]


def look(deployment: Deployment) -> Iterator[Finding]:
    """What there is to say of settings that could be read."""
    settings = deployment.settings
    if settings.strict and settings.environment != "development":
        yield STRICT.warning(f"emit raises in {settings.environment}, so that a mistake in an event fails the request")
    else:
        yield STRICT.ok("emit raises, for development" if settings.strict else "emit never raises")
    if settings.broker_url is None:
        level = BROKER.note if settings.environment == "development" else BROKER.warning
        yield level(f"the embedded Redis of {settings.state_directory} is used, which only this machine can reach")
    else:
        yield BROKER.ok(masked_url(settings.broker_url))
    yield from look_at_files(deployment.environ)


def look_at_files(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Who may read and change the settings files; also of settings that are wrong."""
    try:
        paths = [path for path in source_files(environ) if path.is_file()]
    except SettingsError:
        return
    yield from (readable(path) for path in paths)
    yield from (writable(path) for path in paths)


def readable(path: Path) -> Finding:
    """Whether a file that holds a credential is readable for everybody."""
    keys = sorted({".".join(leaf.path) for leaf in _leaves(path) if _is_credential(leaf)})
    if not keys:
        return READABLE.ok(f"{path} holds no credential")
    bits = mode(path) or 0
    if bits & 0o004:
        return READABLE.error(f"{path} holds {', '.join(keys)} and has mode {bits:04o}", file=path)
    return READABLE.ok(f"{path} has mode {bits:04o}")


def writable(path: Path) -> Finding:
    """Whether everybody may decide where events go."""
    bits = mode(path) or 0
    if bits & 0o002:
        return WRITABLE.error(f"{path} has mode {bits:04o}", file=path)
    return WRITABLE.ok(f"{path} has mode {bits:04o}")


def _leaves(path: Path) -> list[Leaf]:
    try:
        return file_leaves(path)
    except SettingsError:
        return []  # settings.valid has said so


def _is_credential(leaf: Leaf) -> bool:
    if isinstance(leaf.value, str) and masked_url(leaf.value) != leaf.value:
        return True
    # A table of credentials names them by any word.
    return bool(leaf.value) and not isinstance(leaf.value, bool) and any(is_secret(part) for part in leaf.path)
