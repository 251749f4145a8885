"""Request event: the event of a request of Django, which reads forms for itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.contrib.request_event import Fields, RequestEvents, form_length

if TYPE_CHECKING:
    from django.http import HttpRequest


def emit_request(request: HttpRequest, events: RequestEvents) -> None:
    """Emit the event of a request, unless its path is ignored.

    Args:
        request: Of which a small form is read, but no other body, so that views can read it.
        events: Emits it.
    """
    if not events.ignores(request.path_info):
        events.emit(request.path_info, request.GET.lists(), _form_of(request))


def _form_of(request: HttpRequest) -> Fields:
    length = str(request.META.get("CONTENT_LENGTH") or "")
    if not form_length(request.method or "", request.content_type or "", length):
        return ()
    try:
        fields: Fields = request.POST.lists()
    except Exception:  # a broken form, or a client that has gone: Django answers that when a view asks
        return ()
    return fields
