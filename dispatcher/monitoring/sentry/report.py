"""Report: one thing that needs a person, and how it is sent to the Sentry that is active in this process, if any.

No part of an event may get into a report: it holds names from the settings, words from the ledger, and counts.
Sentry is not imported here: a web process without it must not pay for it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Kind = Literal[
    "dead-letters", "breaker-opened", "outbox-nearly-full", "events-refused", "delivery-failed", "worker-lost", "crash"
]
Level = Literal["warning", "error", "fatal"]

#: The key of a hint that marks an event as made here, and holds its title. Scrubbing sends more of such an event.
MARK: Final = "dispatcher"

# A word that may become part of an issue. Reasons come from destinations, which anyone may write.
_WORD: Final = re.compile(r"[A-Za-z][\w.-]{0,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One thing that needs a person.

    Args:
        kind: Part of the issue's fingerprint, and a tag.
        title: A sentence, the same each time, since it names the issue.
        level: Sentry's level.
        about: What distinguishes this issue from others of its kind, such as destination and reason; tags, too.
        facts: What differs from one report of an issue to the next, such as counts.
        error: What was raised. Its type and stack are sent; its text and its variables are not.
    """

    kind: Kind
    title: str
    level: Level = "error"
    about: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, int | float | str] = field(default_factory=dict)
    error: BaseException | None = None

    @property
    def fingerprint(self) -> list[str]:
        """What Sentry groups by."""
        return ["dispatcher", self.kind, *self.about.values()]


def send(report: Report) -> bool:
    """Hand a report to the Sentry of this process, which sends it from a thread of its own. Does not block.

    Returns:
        False if this process has none.
    """
    client = active_client()
    if client is None:
        return False
    # Through the client: a scope would add what the thread has inherited, such as the user of a request.
    client.capture_event(_event(report, client.options), hint={MARK: report.title})
    return True


def active_client() -> Any:
    """The Sentry client of this process; None if nothing has started one. Never imports Sentry."""
    sdk = sys.modules.get("sentry_sdk")
    # Missing in version 1, and in a module that is only now being imported.
    get_client = getattr(sdk, "get_client", None)
    client = None if get_client is None else get_client()
    return client if client is not None and client.is_active() else None


def word(text: str) -> str:
    """The text if it is one word, else "other": a sentence could hold anything."""
    return text if _WORD.fullmatch(text) else "other"


def _event(report: Report, options: Mapping[str, Any]) -> dict[str, Any]:
    event: dict[str, Any] = {
        "level": report.level,
        "logger": "dispatcher",
        "fingerprint": report.fingerprint,
        "tags": {"dispatcher.kind": report.kind, **{f"dispatcher.{key}": text for key, text in report.about.items()}},
        "contexts": {"dispatcher": dict(report.facts)},
    }
    if report.error is None:
        # The empty list keeps a web app's attach_stacktrace from adding this thread's stack with its variables.
        return {**event, "logentry": {"message": report.title}, "threads": {"values": []}}
    from sentry_sdk.utils import event_from_exception  # noqa: PLC0415 - it is loaded, as there is a client

    raised, _ = event_from_exception(
        report.error, client_options=dict(options), mechanism={"type": "dispatcher", "handled": True}
    )
    return {**raised, **event}
