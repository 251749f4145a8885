"""Is each destination reachable, with plausible credentials, and can it answer within its lease? Sends no event."""

from __future__ import annotations

import re
import ssl
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

from pydantic import BaseModel, SecretStr, ValidationError

from dispatcher.config import DestinationSettings
from dispatcher.config.credential import SecretText, check_credential
from dispatcher.config.variables import option_variable
from dispatcher.connections.endpoint import Endpoint
from dispatcher.connections.urls import is_local
from dispatcher.destinations.base import ONLY_WITH
from dispatcher.destinations.preview import Previewer
from dispatcher.destinations.types import load_type
from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.endpoint import describe, probe
from dispatcher.doctor.finding import Check, Finding
from dispatcher.errors import SettingsError, SetupError

_DAY_SECONDS: Final = 86_400
# Automatic renewal comes long before, so that it has failed by then.
_EXPIRES_SOON_DAYS: Final = 14
# What people write in place of a credential until they have one.
_PLACEHOLDER: Final = re.compile(
    r"(?i)^(<.*>|\[.*\]|\$\{?\w+\}?|\{\{.*\}\}|\*+|x{3,}|\.{3}|change.?me|todo|fixme|none|null|secret|example|test"
    r"|placeholder|(your|my|the|insert|replace|dummy|fake)[-_ ].*|(write|api)?[-_ ]?(key|token))$"
)

ANY: Final = Check(
    "destinations.any",
    "Whether any destination is enabled.",
    "enable one in the settings, such as [destinations.tracking_log]",
)
ALLOWLIST: Final = Check(
    "destinations.allowlist",
    "Whether a destination that needs an allowlist lacks one: it gets no events then.",
    "set events in [destinations.{name}], and try it with `dispatcher explain`",
)
CREDENTIALS: Final = Check(
    "destinations.credentials",
    "Whether write keys and other credentials are set, without blanks or quotation marks around them, and are not "
    "placeholders. Segment's tracking API does not say whether it knows a write key: it answers 200 to any.",
    "set {variable} to the credential from the vendor's pages, for the workers, and restart them",
)
COMPLETE: Final = Check(
    "destinations.complete",
    "Whether a destination has what else it needs: packages, and settings that only it knows of.",
    "do that for the workers, and restart them",
)
REACHABLE: Final = Check(
    "destinations.reachable",
    "Whether this machine can reach each HTTP destination: name, connection, TLS; through the proxy, if one is set. "
    "Nothing is sent.",
    "run this where the workers run; then mend the host in the settings, the name service, the firewall or the proxy",
)
CERTIFICATE: Final = Check(
    "destinations.certificate",
    "For how long the certificate of each HTTPS destination is still valid.",
    "ask the operator of {host} to renew it",
)
ENCRYPTION: Final = Check(
    "destinations.encryption",
    "Whether destinations on other machines are reached over plain HTTP.",
    "set {variable} to the https:// address",
)
LEASE: Final = Check(
    "destinations.lease",
    "The lease against the destination's own timeouts: a delivery that takes longer than its lease happens twice.",
    "set {variable} to more than {seconds}, or lower the destination's timeouts",
)

CHECKS: Final = (ANY, ALLOWLIST, CREDENTIALS, COMPLETE, REACHABLE, CERTIFICATE, ENCRYPTION, LEASE)


def check(deployment: Deployment) -> Iterator[Finding]:
    """Every enabled destination, one after another."""
    if not deployment.destinations:
        yield ANY.error("no destination is enabled: every event is dropped as filtered")
        return
    yield ANY.ok(", ".join(deployment.destinations))
    for name, table in deployment.destinations.items():
        yield allowlist(name, table)
        options = options_of(table)
        if options is None:
            continue  # settings.valid has reported it
        is_embedded = deployment.settings.broker_url is None
        yield from credentials(name, table, options, is_embedded=is_embedded)
        yield from missing_settings(name, table)
        yield from lease(name, table, options)
        # `dispatcher up` replaces a destination that has a stub and lacks its credentials.
        lacks = any(not getattr(options, option) for option in table.traits.needs)
        is_stubbed = is_embedded and table.traits.has_stub and lacks
        for option, url in urls(options).items():
            yield from _connection(name, option, url, quick=deployment.quick, is_stubbed=is_stubbed)


def _connection(name: str, option: str, url: SplitResult, *, quick: bool, is_stubbed: bool) -> Iterator[Finding]:
    yield encryption(name, option, url)
    if is_stubbed:
        yield REACHABLE.skipped(f"{name} has no credentials, and `dispatcher up` replaces it by a stub")
    elif quick:
        yield REACHABLE.skipped("--quick connects to no destination")
    else:
        yield from reach(name, url)


def options_of(table: DestinationSettings) -> BaseModel | None:
    """The destination's validated options; None if they are wrong."""
    try:
        return load_type(table.type).Options.model_validate(table.options)
    except (SettingsError, ValidationError):
        return None


def allowlist(name: str, table: DestinationSettings) -> Finding:
    if not table.traits.takes_all_events and not table.events:
        return ALLOWLIST.warning(f"{name} has no allowlist and gets only direct calls", name=name)
    entries = "entry" if len(table.events or ()) == 1 else "entries"
    return ALLOWLIST.ok(
        f"{name} gets all events"
        if table.events is None
        else f"{name} has an allowlist of {len(table.events)} {entries}"
    )


def credentials(
    name: str, table: DestinationSettings, options: BaseModel, *, is_embedded: bool = False
) -> Iterator[Finding]:
    for option, value in _values(options):
        if isinstance(value, SecretStr):
            flaw = flaw_of(value.get_secret_value(), is_single_word=not isinstance(value, SecretText))
        elif value is None and option in table.traits.needs:
            flaw = "is not set, so that its events wait"
        else:
            continue
        variable = option_variable(name, option)
        if flaw is None:
            yield CREDENTIALS.ok(f"{option} of {name} is set and well-formed")
        elif is_embedded and flaw.startswith("is not set"):
            yield CREDENTIALS.note(
                f"{option} of {name} {flaw}, or go to the stub of `dispatcher up`", variable=variable
            )
        else:
            yield CREDENTIALS.error(f"{option} of {name} {flaw}", variable=variable)


def missing_settings(name: str, table: DestinationSettings) -> Iterator[Finding]:
    """The settings that the destination itself misses, if ``credentials`` does not check them by name."""
    if table.traits.needs:
        return
    with Previewer({name: table}) as previewer:
        missing = previewer.missing_settings(name)
    yield COMPLETE.ok(f"{name} has what it needs") if missing is None else COMPLETE.error(missing)


def flaw_of(secret: str, *, is_single_word: bool = True) -> str | None:
    """What is wrong with a credential, without any part of it; None if it is plausible."""
    if not secret:
        return "is not set, so that its events wait"
    try:
        check_credential(secret, is_single_word=is_single_word)
    except ValueError as error:
        return str(error).removeprefix("it ").partition(":")[0]
    return "is a placeholder" if _PLACEHOLDER.match(secret) else None


def lease(name: str, table: DestinationSettings, options: BaseModel) -> Iterator[Finding]:
    """The lease against the time that one request may take. A batch may be several requests."""
    longest = load_type(table.type).longest_seconds(options)
    if not longest:
        return
    facts = {"variable": option_variable(name, "lease_seconds"), "seconds": f"{2 * longest:g}"}
    what = f"{name} has a lease of {table.lease_seconds:g} s, and one request may take {longest:g} s"
    if table.lease_seconds <= longest:
        yield LEASE.error(what, **facts)
    elif table.lease_seconds < 2 * longest:
        yield LEASE.warning(what, **facts)
    else:
        yield LEASE.ok(what)


def urls(options: BaseModel) -> dict[str, SplitResult]:
    """The HTTP addresses among the options that something is sent to, by the name of the option."""
    by_option = {}
    for option, value in _values(options):
        if isinstance(value, str) and value.startswith(("http://", "https://")):
            url = urlsplit(value)
            if url.hostname:
                by_option[option] = url
    return by_option


def encryption(name: str, option: str, url: SplitResult) -> Finding:
    if url.scheme == "https" or is_local(url.hostname):
        return ENCRYPTION.ok(f"{name} is {'encrypted' if url.scheme == 'https' else 'on this machine'}")
    what = f"events and credentials of {name} go to {url.hostname} unencrypted"
    return ENCRYPTION.warning(what, variable=option_variable(name, option))


def reach(name: str, url: SplitResult) -> Iterator[Finding]:
    """Connect and hang up. Blocks for five seconds at most."""
    where = url.hostname
    try:
        endpoint = Endpoint.of(url)
        where = str(endpoint)
        certificate = probe(endpoint)
    except (OSError, SetupError) as error:
        yield REACHABLE.error(f"{name} at {where} cannot be reached: {describe(error)}")
        return
    yield REACHABLE.ok(f"{name} at {endpoint} takes connections")
    if certificate is not None:
        yield validity(endpoint.host, certificate, now=time.time())


def validity(host: str, certificate: Mapping[str, Any], *, now: float) -> Finding:
    """For how long a certificate is valid.

    Args:
        host: Whose it is.
        certificate: As ``SSLSocket.getpeercert`` returns it.
        now: In seconds since 1970.
    """
    days = (ssl.cert_time_to_seconds(str(certificate["notAfter"])) - now) / _DAY_SECONDS
    what = f"the certificate of {host} is valid for {days:.0f} more days"
    return CERTIFICATE.warning(what, host=host) if days < _EXPIRES_SOON_DAYS else CERTIFICATE.ok(what)


def _values(options: BaseModel) -> Iterator[tuple[str, Any]]:
    for option, field in type(options).model_fields.items():
        extra = field.json_schema_extra
        needed = extra.get(ONLY_WITH) if isinstance(extra, dict) else None
        if not isinstance(needed, str) or getattr(options, needed) is not None:
            yield option, getattr(options, option)
