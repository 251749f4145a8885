"""Views: ``/event`` and ``/segmentio/event`` of the platform, for a site that does not want a collector process.

They read what the collector's routes read, and answer what the platform answers; urls.py says which methods they take,
and that Segment's webhook brings no token against CSRF. Synchronous, since they ask the
database for the user; under ASGI Django runs them in its thread.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from django.contrib.auth import get_user_model
from django.core.signals import setting_changed
from django.http import HttpResponse

from dispatcher import config
from dispatcher.contrib.django.conf import Configuration, read_configuration
from dispatcher.contrib.django.request_fields import host_of, request_fields
from dispatcher.contrib.django.user import find_user
from dispatcher.contrib.request_context import LAYER
from dispatcher.emit.context import current
from dispatcher.errors import InvalidEventError, OutboxError
from dispatcher.intake.edx_mobile import Allowed, is_key, read_call
from dispatcher.intake.edx_page import ANSWER, make_event, read_fields
from dispatcher.intake.json_body import decode_body
from dispatcher.intake.refused import Refused
from dispatcher.tracker.default import get_tracker, known_settings

if TYPE_CHECKING:
    from django.http import HttpRequest

    from dispatcher.config.collector import CollectorSettings
    from dispatcher.event import Event

logger = logging.getLogger(__name__)

# Segment's webhook sends a call again for hours.
_RETRY_SECONDS: Final = "5"


def page_event(request: HttpRequest) -> HttpResponse:
    """Take what Logger.log and the micro-frontends send; Django's check of CSRF holds, as in the platform.

    The user is the session's. What the middleware, or any code before this view, has bound goes into the event.
    """
    fields: Any = request.GET.dict()
    if request.method == "POST":
        # A form with boundaries is read by Django alone, and once.
        fields = request.POST.dict() if request.content_type == "multipart/form-data" else read_fields(request.body)
    if isinstance(fields, Refused):
        return HttpResponse(fields.message, status=fields.status, content_type="text/plain")
    known = {name: value for name, value in _context(request).items() if value not in ("", None)}
    known.pop("path", None)
    return _submit(make_event(fields, known, request.path, datetime.now(UTC))) or HttpResponse(ANSWER)


def mobile_event(request: HttpRequest) -> HttpResponse:
    """Take a track call of Segment's webhook, whose ``?key=`` must be ``collector.mobile_secret``; 401 without.

    A call that the platform drops is dropped and answered 200, so that whoever sends it does not learn why.
    """
    settings = _settings().collector
    secret = settings.mobile_secret.get_secret_value().encode() if settings.mobile_secret is not None else b""
    if not secret or not is_key(request.GET.get("key", ""), secret):
        return HttpResponse(status=401)
    call = decode_body(request.body)
    if isinstance(call, Refused):
        return HttpResponse(call.message, status=call.status, content_type="text/plain")
    event = read_call(call, _allowed(settings), host=host_of(request), path=request.path)
    if isinstance(event, tuple):
        logger.debug("a mobile app's call was dropped: %s", event[1])
    elif (name := _find_username(event.context["user_id"])) is None:
        logger.debug("a mobile app's call was dropped: the user does not exist")
    else:
        event.context["username"] = name
        return _submit(event) or HttpResponse()
    return HttpResponse()


def _context(request: HttpRequest) -> dict[str, Any]:
    bound = current()
    if bound.layer(LAYER) is not None:
        return dict(bound.merged)
    return request_fields(request, _configuration().fields, find_user(request)) | bound.merged


def _submit(event: Event) -> HttpResponse | None:
    """Emit an event. Returns the answer where the outbox takes nothing now, so that who can will send it again."""
    tracker = get_tracker()
    refused = tracker.refused
    try:
        tracker.submit(
            event.type,
            event.name,
            event.data,
            timestamp=event.timestamp,
            context=event.context,
            event_id=event.id or None,
        )
    except InvalidEventError as error:
        # Only with `strict`: the mistake is the sender's, and not of this site.
        logger.warning("an event of a page or an app was not taken: %s", error.reason)
    except OutboxError as error:
        logger.warning("an event of a page or an app was not taken: %s", error)
    if tracker.refused == refused:
        return None
    return HttpResponse(status=503, headers={"Retry-After": _RETRY_SECONDS})


def _find_username(user_id: int) -> str | None:
    users = get_user_model()
    try:
        name: str = users._default_manager.get(pk=user_id).get_username()
    except (users.DoesNotExist, OverflowError):  # a number beyond what the database has
        return None
    return name


@lru_cache(1)
def _configuration() -> Configuration:
    return read_configuration()


def _settings() -> config.Settings:
    # Where the site calls `dispatcher.configure` itself, they are in neither files nor Django's settings.
    return known_settings() or _load_settings()


@lru_cache(1)
def _load_settings() -> config.Settings:
    return config.load(overrides=dict(_configuration().overrides))


def _allowed(settings: CollectorSettings) -> Allowed:
    return Allowed(settings.mobile_types, settings.mobile_libraries, settings.mobile_disallowed_names)


def _forget(**_: Any) -> None:
    _configuration.cache_clear()
    _load_settings.cache_clear()


# Tests change settings.
setting_changed.connect(_forget, dispatch_uid="dispatcher.contrib.openedx.views")
