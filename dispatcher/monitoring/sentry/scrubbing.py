"""Scrubbing: lists what may be sent to Sentry; everything else in an event of its SDK is left out.

A list of what must not be sent would have to know every name in payloads, credentials and libraries' reports.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

from dispatcher.monitoring.sentry.report import MARK

_ALWAYS: Final = frozenset({"event_id", "timestamp", "level", "platform", "release", "environment", "sdk"})
# Sent only of events made here: in those of others, they might hold anything.
_OWN: Final = frozenset({"logger", "fingerprint", "logentry"})
_TRANSACTION: Final = _ALWAYS | {"type", "transaction", "transaction_info", "start_timestamp"}
_TRACE: Final = frozenset({"trace_id", "span_id", "parent_span_id", "op", "status", "origin"})
# Sentry's names for what the head of a trace has decided (https://develop.sentry.dev/sdk/telemetry/traces/dynamic-sampling-context/).
_SAMPLING: Final = frozenset(
    {
        "trace_id",
        "public_key",
        "sample_rate",
        "sample_rand",
        "sampled",
        "release",
        "environment",
        "transaction",
        "org_id",
    }
)
_EXCEPTION: Final = frozenset({"type", "module"})
_MECHANISM: Final = frozenset({"type", "handled", "exception_id", "parent_id"})
_FRAME: Final = frozenset({"function", "module", "lineno", "in_app"})
# The only transactions that are made here. A destination's own code may start others.
_TASK: Final = re.compile(r"tasks\.[a-z][a-z0-9_]*\.deliver")
_DATA: Final = re.compile(r"(messaging|dispatcher)\.[a-z_.]+")


class Scrubber:
    """Makes a new event of the parts that may be sent. Called by Sentry's SDK; safe in threads.

    Args:
        role: The part that this process plays, a tag of each event.
        server_name: This machine's name in events; None leaves it out.
    """

    def __init__(self, *, role: str, server_name: str | None) -> None:
        self._role = role
        self._server_name = server_name

    def event(self, event: Mapping[str, Any], hint: Mapping[str, Any]) -> Any:
        """For ``before_send``: what may be sent of an event."""
        title = hint.get(MARK)
        clean = self._base(event, _ALWAYS if title is None else _ALWAYS | _OWN)
        if title is not None:
            clean["tags"] |= event.get("tags") or {}
            clean["contexts"] = {"dispatcher": (event.get("contexts") or {}).get("dispatcher") or {}}
        exceptions = (event.get("exception") or {}).get("values") or []
        if exceptions:
            clean["exception"] = {"values": [_exception(exception) for exception in exceptions]}
            # The last is the one that was raised, the others are its causes. Its value names the issue.
            clean["exception"]["values"][-1]["value"] = title or "its text is not sent"
        return clean

    def transaction(self, event: Mapping[str, Any], _hint: Mapping[str, Any]) -> Any:
        """For ``before_send_transaction``: what may be sent of a delivery; None, which drops it, for all others."""
        if not _TASK.fullmatch(str(event.get("transaction"))):
            return None
        trace = (event.get("contexts") or {}).get("trace") or {}
        clean_trace = _only(trace, _TRACE)
        clean_trace["data"] = {key: value for key, value in (trace.get("data") or {}).items() if _DATA.fullmatch(key)}
        clean_trace["dynamic_sampling_context"] = _only(trace.get("dynamic_sampling_context") or {}, _SAMPLING)
        return {**self._base(event, _TRANSACTION), "contexts": {"trace": clean_trace}, "spans": []}

    def _base(self, event: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
        clean = _only(event, keys)
        clean["tags"] = {"dispatcher.role": self._role}
        if self._server_name is not None:
            clean["server_name"] = self._server_name
        return clean


def no_breadcrumb(_crumb: object, _hint: object) -> None:
    """For ``before_breadcrumb``: drops all, since they hold URLs of requests and texts of logs."""


def _exception(exception: Mapping[str, Any]) -> dict[str, Any]:
    frames = ((exception.get("stacktrace") or {}).get("frames")) or []
    return {
        **_only(exception, _EXCEPTION),
        "mechanism": _only(exception.get("mechanism") or {}, _MECHANISM),
        "stacktrace": {"frames": [_frame(frame) for frame in frames]},
    }


def _frame(frame: Mapping[str, Any]) -> dict[str, Any]:
    # That of a script is a whole path, with the names of users in it.
    path = PurePath(str(frame.get("filename") or ""))
    return {**_only(frame, _FRAME), "filename": path.name if path.is_absolute() else str(path)}


def _only(values: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    return {key: values[key] for key in keys & values.keys()}
