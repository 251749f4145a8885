"""Scrubbing: what may leave for Sentry is listed here; all else of an event is left out.

A list of what is forbidden would have to know every name that a payload, a credential or a library's report may have.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any, Final

from dispatcher.monitoring.sentry.report import MARK

_ALWAYS: Final = frozenset({"event_id", "timestamp", "level", "platform", "release", "environment", "sdk"})
# Only of what is made here: from anyone else's they might hold anything.
_OWN: Final = frozenset({"logger", "fingerprint", "logentry"})
_TRANSACTION: Final = _ALWAYS | {"type", "transaction", "transaction_info", "start_timestamp"}
_TRACE: Final = frozenset({"trace_id", "span_id", "parent_span_id", "op", "status", "origin"})
# Sentry's own names for what the head of a trace has decided (https://develop.sentry.dev/sdk/telemetry/traces/dynamic-sampling-context/).
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
# The one kind of transaction that is made here, whatever a destination's own code starts.
_TASK: Final = re.compile(r"tasks\.[a-z][a-z0-9_]*\.deliver")
_DATA: Final = re.compile(r"(messaging|dispatcher)\.[a-z_.]+")


class Scrubber:
    """Makes new events out of what may leave. Called by Sentry; safe in threads.

    Args:
        role: The part that this process plays, a tag of each event.
        server_name: What this machine is called in events; None leaves it out.
    """

    def __init__(self, *, role: str, server_name: str | None) -> None:
        self._role = role
        self._server_name = server_name

    def event(self, event: Mapping[str, Any], hint: Mapping[str, Any]) -> Any:
        """For ``before_send``."""
        title = hint.get(MARK)
        clean = self._base(event, _ALWAYS if title is None else _ALWAYS | _OWN)
        if title is not None:
            clean["tags"] |= event.get("tags") or {}
            clean["contexts"] = {"dispatcher": (event.get("contexts") or {}).get("dispatcher") or {}}
        exceptions = (event.get("exception") or {}).get("values") or []
        if exceptions:
            clean["exception"] = {"values": [_exception(exception) for exception in exceptions]}
            # The last is the one that was raised, the others are its causes; an issue is called by it.
            clean["exception"]["values"][-1]["value"] = title or "its text is not sent"
        return clean

    def transaction(self, event: Mapping[str, Any], _hint: Mapping[str, Any]) -> Any:
        """For ``before_send_transaction``: None, which drops it, where it is no delivery."""
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
    """For ``before_breadcrumb``: none is kept, since the URLs of requests and the texts of logs are among them."""


def _exception(exception: Mapping[str, Any]) -> dict[str, Any]:
    frames = ((exception.get("stacktrace") or {}).get("frames")) or []
    return {
        **_only(exception, _EXCEPTION),
        "mechanism": _only(exception.get("mechanism") or {}, _MECHANISM),
        "stacktrace": {"frames": [_frame(frame) for frame in frames]},
    }


def _frame(frame: Mapping[str, Any]) -> dict[str, Any]:
    # A script's own is a whole path, with the names of users in it.
    path = PurePath(str(frame.get("filename") or ""))
    return {**_only(frame, _FRAME), "filename": path.name if path.is_absolute() else str(path)}


def _only(values: Mapping[str, Any], keys: frozenset[str]) -> dict[str, Any]:
    return {key: values[key] for key in keys & values.keys()}
