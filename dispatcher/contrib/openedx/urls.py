"""URLs: ``path("", include("dispatcher.contrib.openedx.urls"))`` serves what edX's pages and apps send to."""

from django.urls import path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from dispatcher.contrib.openedx.views import mobile_event, page_event

# As in the platform: pages send Django's token against CSRF, Segment's webhook has none.
urlpatterns = [
    path("event", require_http_methods(["GET", "POST"])(page_event)),
    path("segmentio/event", csrf_exempt(require_http_methods(["POST"])(mobile_event))),
]
