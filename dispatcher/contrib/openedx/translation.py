"""Translation: from the tracking settings of the platform to settings files of ours, and what stays to be done by hand.

The names are those of the platform's ``EVENT_TRACKING_*`` and ``TRACKING_*`` settings
(https://docs.openedx.org/projects/edx-platform/en/latest/references/settings.html).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dispatcher.secrecy.foreign_error import type_name
from dispatcher.secrecy.safe_text import one_line

_ROUTERS: Final = ("RoutingBackend", "AsyncRoutingBackend")
# What dispatcher does by itself: `format = "edx"`, and `properties = "edx"`.
_OURS: Final = ("LegacyFieldMappingProcessor", "PrefixedEventProcessor", "GoogleAnalyticsProcessor")
_WRITE_KEYS: Final = ("LMS_SEGMENT_KEY", "SEGMENT_KEY", "SEGMENT_IO_LMS_KEY")
# A regular expression that says no more than a beginning or a whole name.
_PLAIN_PATTERN: Final = re.compile(r"\^?(?P<name>(?:[A-Za-z0-9_/:-]|\\\.)+)(?P<end>\$|\.\*\$?)?")


@dataclass(slots=True)
class Translation:
    """Settings of ours that do the same.

    Args:
        destinations: Tables by the name of the destination.
        collector: Settings of the collector, for the apps' webhook.
        environment: Variables that hold secrets, with the name of the setting that has the value.
        notes: What could not be translated, each with what to do.
    """

    destinations: dict[str, dict[str, Any]] = field(default_factory=dict)
    collector: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def to_toml(self) -> str:
        """A settings file. Secrets are not in it, only the names of their variables."""
        lines = ["# The destinations of a site that used event-tracking. Written by `dispatcher settings from-django`."]
        for variable, setting in self.environment.items():
            lines.append(f"# Set the variable {variable} to the value of {setting}.")
        tables = {f"destinations.{name}": table for name, table in self.destinations.items()}
        for name, table in {**tables, **({"collector": self.collector} if self.collector else {})}.items():
            lines += ["", f"[{name}]", *(f"{key} = {json.dumps(value)}" for key, value in table.items())]
        return "\n".join(lines) + "\n"


def translate(settings: Mapping[str, Any]) -> Translation:
    """Read the settings of a Django project. Values that are not understood end up in the notes; raises nothing.

    Args:
        settings: By name, in upper case.
    """
    found = Translation()
    _translate_backends(settings, found)
    _translate_segment(settings, found)
    _translate_mobile(settings, found)
    _note_the_rest(settings, found)
    return found


def _translate_backends(settings: Mapping[str, Any], found: Translation) -> None:
    backends = settings.get("EVENT_TRACKING_BACKENDS")
    if not isinstance(backends, Mapping) or not backends:
        found.notes.append("EVENT_TRACKING_BACKENDS is empty, so nothing says where events go")
        return
    for name, backend, chain in _leaves("EVENT_TRACKING_BACKENDS", backends, (), found):
        engine = str(backend.get("ENGINE", "")).rpartition(".")[2]
        options = _mapping(backend.get("OPTIONS"))
        allowed = _read_chain(name, chain, found)
        if engine == "LoggerBackend":
            found.destinations["tracking_log"] = {"format": "edx", **({} if allowed is None else {"events": allowed})}
            size = options.get("max_event_size", 1024)  # its own default
            if size is not None:
                found.notes.append(f"{name}: events of more than {size} characters were dropped; now they are logged")
        elif engine == "SegmentBackend":
            found.destinations["segment"] = {"events": ["*"] if allowed is None else allowed, "properties": "edx"}
            found.destinations["segment"]["unidentified"] = "skip"
        elif engine == "DispatcherBackend":
            found.notes.append(f"{name}: this site has moved over already")
        else:
            remedy = "write a destination (docs/how-to/own-destination.md), or keep this backend beside ours"
            found.notes.append(f"{name}: {one_line(engine, 80)} has no destination here: {remedy}")


_Chain = tuple[tuple[str, Mapping[str, Any]], ...]


def _leaves(
    place: str, backends: Mapping[str, Any], chain: _Chain, found: Translation
) -> Iterator[tuple[str, Mapping[str, Any], _Chain]]:
    """Backends that send, each with the processors that its events go through."""
    for key, backend in backends.items():
        name = f"{place}[{one_line(repr(key), 80)}]"
        if not isinstance(backend, Mapping) or "ENGINE" not in backend:
            found.notes.append(f"{name}: it must be a dict with an ENGINE, not {type_name(backend)}")
            continue
        options = _mapping(backend.get("OPTIONS"))
        inner = options.get("backends")
        if str(backend["ENGINE"]).rpartition(".")[2] in _ROUTERS and isinstance(inner, Mapping):
            given = options.get("processors")
            given = given if isinstance(given, Sequence) else ()
            more = tuple((name, one) for one in given if isinstance(one, Mapping))
            yield from _leaves(f"{name}['OPTIONS']['backends']", inner, (*chain, *more), found)
        else:
            yield name, backend, chain


def _read_chain(name: str, chain: _Chain, found: Translation) -> list[str] | None:
    """The allowlist that a backend's processors come to; None where they let everything through."""
    allowed: list[str] | None = None
    for place, processor in chain:
        engine = str(processor.get("ENGINE", "")).rpartition(".")[2]
        options = _mapping(processor.get("OPTIONS"))
        if engine == "NameWhitelistProcessor":
            names = _texts(options.get("whitelist"))
            allowed = names if allowed is None else [one for one in allowed if one in names]
        elif engine == "RegexFilter":
            globs, odd = _to_globs(_texts(options.get("regular_expressions")))
            if odd or allowed is not None:
                remedy = "write its list as an allowlist by hand (docs/how-to/allowlists.md)"
                found.notes.append(
                    f"{place}: RegexFilter has patterns that say more than a name ({len(odd)}): {remedy}"
                )
            elif options.get("filter_type", "allowlist") == "blocklist":
                allowed = ["*", *(f"!{one}" for one in globs)]
            else:
                allowed = globs
        elif engine not in _OURS:
            remedy = "see whether a rule does the same (docs/how-to/mapping.md)"
            found.notes.append(f"{place}: the processor {one_line(engine, 80)} of {name} is not carried over: {remedy}")
    return allowed


def _to_globs(patterns: Sequence[str]) -> tuple[list[str], list[str]]:
    globs, odd = [], []
    for pattern in patterns:
        read = _PLAIN_PATTERN.fullmatch(pattern)
        if read is None:
            odd.append(pattern)
            continue
        name = read["name"].replace("\\.", ".")
        # event-tracking asks whether a name begins like that, unless a dollar ends the pattern.
        globs.append(name if read["end"] == "$" else f"{name}*")
    return globs, odd


def _translate_segment(settings: Mapping[str, Any], found: Translation) -> None:
    more = _texts(settings.get("EVENT_TRACKING_SEGMENTIO_EMIT_WHITELIST"))
    segment = found.destinations.get("segment")
    key = next((name for name in _WRITE_KEYS if settings.get(name)), None)
    if segment is not None:
        segment["events"] = list(dict.fromkeys([*segment["events"], *more]))
    elif more or key:
        segment = found.destinations["segment"] = {"events": more, "properties": "edx", "unidentified": "skip"}
    if key is not None:
        found.environment["DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY"] = key
        remedy = "put dispatcher.contrib.openedx.segment in its place (docs/how-to/open-edx.md#calls-to-segment)"
        found.notes.append(f"{key}: segment.track of the platform goes on sending to Segment by itself: {remedy}")
    elif segment is not None:
        found.notes.append(f"no write key of Segment is set ({', '.join(_WRITE_KEYS)}): nothing can be sent to it")


def _translate_mobile(settings: Mapping[str, Any], found: Translation) -> None:
    if settings.get("TRACKING_SEGMENTIO_WEBHOOK_SECRET"):
        found.environment["DISPATCHER_COLLECTOR__MOBILE_SECRET"] = "TRACKING_SEGMENTIO_WEBHOOK_SECRET"  # noqa: S105
    for theirs, ours in (
        ("TRACKING_SEGMENTIO_ALLOWED_TYPES", "mobile_types"),
        ("TRACKING_SEGMENTIO_DISALLOWED_SUBSTRING_NAMES", "mobile_disallowed_names"),
    ):
        if theirs in settings:
            found.collector[ours] = _texts(settings[theirs])
    sources = settings.get("TRACKING_SEGMENTIO_SOURCE_MAP")
    if isinstance(sources, Mapping):
        found.collector["mobile_libraries"] = [str(library) for library in sources]
        if set(sources.values()) - {"mobile"}:
            found.notes.append('TRACKING_SEGMENTIO_SOURCE_MAP: event_source is always "mobile" here')


_NOTES: Final = {
    "EVENT_TRACKING_PROCESSORS": "its processors run in the web process, before the backend, and stay as they are",
    "TRACKING_IGNORE_URL_PATTERNS": "the platform's middleware reads it, and goes on doing so",
    "SEND_TRACKING_EVENT_EMITTED_SIGNAL": "events of the event bus stay with event-tracking's own backend for it",
}


def _note_the_rest(settings: Mapping[str, Any], found: Translation) -> None:
    if settings.get("EVENT_TRACKING_ENABLED") is False:
        found.notes.append("EVENT_TRACKING_ENABLED is False, so the site emits nothing now")
    found.notes += [f"{name}: {note}" for name, note in _NOTES.items() if settings.get(name)]


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _texts(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list | tuple | set | frozenset) else []
