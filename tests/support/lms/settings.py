"""Django settings of a site with event-routing-backends, and what stands in for the LMS's code that it imports."""

from __future__ import annotations

import os
import sys
import uuid
from types import ModuleType, SimpleNamespace
from typing import Any

SECRET_KEY = "of-a-test"
USE_TZ = True
LMS_ROOT_URL = "https://lms.example.org"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes", "config_models", "event_routing_backends"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ["SITE_DATABASE"]}}
XAPI_AGENT_IFI_TYPE = "external_id"
XAPI_EVENTS_ENABLED = True
XAPI_EVENT_LOGGING_ENABLED = False
CALIPER_EVENTS_ENABLED = os.environ.get("SITE_CALIPER", "1") == "1"
CALIPER_EVENT_LOGGING_ENABLED = False
EVENT_TRACKING_BACKENDS_ALLOWED_XAPI_EVENTS = ["edx.course.enrollment.activated", "edx.video.played", "not.transformed"]


def _retired(username: str) -> Any:
    from django.contrib.auth import get_user_model

    return get_user_model().objects.get(username=username)


class _ExternalId:
    @classmethod
    def add_new_user_id(cls, user: Any, kind: str) -> tuple[SimpleNamespace, bool]:
        return SimpleNamespace(external_user_id=uuid.uuid5(uuid.NAMESPACE_URL, f"{user.pk} {kind}")), True


_STAND_INS: dict[str, dict[str, object]] = {
    "common.djangoapps.student.models": {"get_potentially_retired_user_by_username": _retired},
    "openedx.core.djangoapps.content.course_overviews.api": {
        "get_course_overviews": lambda keys: [{"display_name": str(key)} for key in keys]
    },
    "openedx.core.djangoapps.external_user_ids.models": {
        "ExternalId": _ExternalId,
        "ExternalIdType": SimpleNamespace(XAPI="xapi", CALIPER="caliper"),
    },
}
for _name, _values in _STAND_INS.items():
    sys.modules[_name] = ModuleType(_name)
    vars(sys.modules[_name]).update(_values)
