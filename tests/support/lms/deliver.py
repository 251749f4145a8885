"""Delivers events to an LRS in a process with event-routing-backends: options and events come in as JSON, fates go out.

Each entry of ``rounds`` is a list of events. What event-routing-backends itself makes of the first goes out too.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec

from dispatcher.event import Event, encode
from dispatcher.tasks.destinations.event_routing_backends import EventRoutingBackends
from dispatcher.tasks.testing import batch_of, fates


def main() -> None:
    """Read from standard input, write to standard output."""
    given = json.load(sys.stdin)
    options = {"django_settings": "tests.support.lms.settings", **given["options"]}
    destination = EventRoutingBackends("lrs", EventRoutingBackends.Options.model_validate(options))
    missing = destination.missing_settings()
    if missing is not None:
        print(json.dumps({"missing": missing}))
        return
    if given["has_database"]:
        make_users()
    rounds = [msgspec.convert(events, list[Event]) for events in given["rounds"]]
    found = [fates(destination.deliver(batch_of(events))) for events in rounds]
    previews = [destination.preview(event).get("request", {}).get("body") for event in rounds[0]]
    theirs = [_as_they_do(event) for event in rounds[0]] if given["has_database"] else []
    print(json.dumps({"fates": found, "previews": previews, "theirs": theirs}))


def make_users() -> None:
    """The users 1, 2 and 3, in a database that is made for them."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command

    for app in ("contenttypes", "auth"):
        call_command("migrate", app, verbosity=0)
    for number in (1, 2, 3):
        get_user_model().objects.create(id=number, username=f"user-{number}")


def _as_they_do(event: Event) -> Any:
    """The statements by event-routing-backends' own processor, from the JSON of its queue."""
    from event_routing_backends.processors.xapi.transformer_processor import XApiProcessor

    queued = json.loads(encode(event))
    # As DateTimeJSONEncoder of event-tracking writes it.
    queued["timestamp"] = event.timestamp.isoformat()
    try:
        return XApiProcessor()([queued])
    except ValueError:
        return None


if __name__ == "__main__":
    main()
