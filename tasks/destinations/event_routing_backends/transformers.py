"""Transformers: those of an installed event-routing-backends, in this process, with the site's own Django settings.

They are Open edX's, and read users and courses by Django's models, so they run where the LMS's code and its database
are at hand. Nothing of that package is imported before the first event. Sources: its ``helpers.py``,
``processors/mixins/base_transformer_processor.py`` and ``backends/events_router.py``, release 9.3.8.
"""

from __future__ import annotations

import os
import threading
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from dispatcher.errors import DropEvent, TryLaterError, UndeliverableError
from dispatcher.outcomes import NO_TRANSFORMER, TRANSFORM, UNIDENTIFIED
from dispatcher.secrecy.foreign_error import describe_error

if TYPE_CHECKING:
    from dispatcher.event import Event

#: What events become: statements for an LRS, or Caliper's events.
Format: TypeAlias = Literal["xapi", "caliper"]

_PACKAGE: Final = "event_routing_backends"
_SETTINGS_VARIABLE: Final = "DJANGO_SETTINGS_MODULE"
_PROCESSORS: Final[dict[Format, tuple[str, str]]] = {
    "xapi": (f"{_PACKAGE}.processors.xapi.transformer_processor", "XApiProcessor"),
    "caliper": (f"{_PACKAGE}.processors.caliper.transformer_processor", "CaliperProcessor"),
}

# Django can be set up once in a process, and not by two threads at a time.
_set_up_lock: Final = threading.Lock()


class Transformers:
    """The transformers of one format. Safe in threads; makes connections to the site's database, so not across a fork.

    Args:
        format_: What events become.
        django_settings: The module of the site's Django settings; None for that which the environment names.
    """

    def __init__(self, format_: Format, django_settings: str | None) -> None:
        self._format: Final = format_
        self._django_settings: Final = django_settings
        self._processor: Any = None
        self._allowed: frozenset[str] | None = None
        # Python does not run again what a failed import of Django's settings has left half done.
        self._problem: str | None = None

    def problem(self) -> str | None:
        """What is missing for events to be transformed, and the way out; None if nothing is.

        Blocks while the site's code is imported, at the first call.
        """
        with _set_up_lock:
            if self._processor is None and self._problem is None:
                self._problem = self._load()
            return self._problem

    @property
    def root_url(self) -> str:
        """The LMS's URL, by which its Caliper events name their sensor."""
        return str(import_module("django.conf").settings.LMS_ROOT_URL)

    def transform(self, event: Event) -> list[dict[str, Any]]:
        """The statements, or Caliper events, that an event becomes: at least one. Blocks while a database is asked.

        Raises:
            DropEvent: Nothing is made of it.
            UndeliverableError: Its transformer cannot take it.
            TryLaterError: Something is missing, or the site's database cannot be asked now.
        """
        if (problem := self.problem()) is not None:
            raise TryLaterError(problem, retry_class="setup")
        if self._allowed is not None and event.name not in self._allowed:
            raise DropEvent(NO_TRANSFORMER)
        transformer = self._processor.registry.mapping.get(event.name)
        if transformer is None:
            raise DropEvent(NO_TRANSFORMER)
        given = _as_given_there(event)
        try:
            made = self._processor.get_transformed_event(given)
            found = made if isinstance(made, list) else [made]
            statements = [_as_dict(each) for each in found if each]
        except Exception as error:
            raise _reason_for(error, event, transformer, given) from error
        if not statements or not all(self._is_whole(each) for each in statements):
            raise DropEvent(NO_TRANSFORMER)
        return statements

    def release(self) -> None:
        """Give this thread's connections to the site's databases back, as Django does after each request."""
        if self._processor is not None:
            import_module("django.db").close_old_connections()

    def _is_whole(self, statement: dict[str, Any]) -> bool:
        """event-routing-backends leaves statements out that are about nothing."""
        return self._format != "xapi" or bool((statement.get("object") or {}).get("id"))

    def _load(self) -> str | None:
        if (missing := missing_package()) is not None:
            return missing
        module = self._django_settings or os.environ.get(_SETTINGS_VARIABLE)
        if not module:
            return (
                f"event-routing-backends needs the LMS's Django settings: set django_settings, or {_SETTINGS_VARIABLE} "
                "in the worker's environment, to their module, such as lms.envs.production"
            )
        try:
            self._set_up(module)
        except Exception as error:  # whatever the site's own code raises
            return f"Django cannot be set up with {module}: {describe_error(error)}; mend that, and restart the worker"
        return self._lacking(module)

    def _set_up(self, module: str) -> None:
        os.environ.setdefault(_SETTINGS_VARIABLE, module)
        conf, registry = import_module("django.conf"), import_module("django.apps").apps
        if not registry.ready:
            # Not django.setup, which would put the site's logging in place of the worker's.
            registry.populate(conf.settings.INSTALLED_APPS)
        name, cls = _PROCESSORS[self._format]
        # Whose app has registered the transformers by now.
        registry.get_app_config(_PACKAGE)
        self._processor = getattr(import_module(name), cls)()
        allowed = getattr(conf.settings, f"EVENT_TRACKING_BACKENDS_ALLOWED_{self._format.upper()}_EVENTS", None)
        self._allowed = None if allowed is None else frozenset(allowed)

    def _lacking(self, module: str) -> str | None:
        if import_module(f"{_PACKAGE}.helpers").get_potentially_retired_user_by_username is None:
            return (
                "event-routing-backends does not find the LMS's code, by which it names users and courses: run the "
                "worker in the LMS's environment"
            )
        enabled = f"{self._format.upper()}_EVENTS_ENABLED"
        if not getattr(import_module(f"{_PACKAGE}.processors.{self._format}"), enabled).is_enabled():
            return f"{enabled} is off in {module}: switch it on, or set enabled = false for this destination"
        return None


def missing_package() -> str | None:
    """That event-routing-backends is not installed here, with the way out; None if it is. Imports nothing."""
    if find_spec(_PACKAGE) is not None:
        return None
    return (
        "the package edx-event-routing-backends is not installed beside this worker: run the worker in the LMS's "
        "environment, or install the package in the worker's"
    )


def _as_given_there(event: Event) -> dict[str, Any]:
    """An event as event-routing-backends gets it from its queue, where all of it was JSON.

    The time is text in the form that edX's tracking log has it in. It is part of a statement's id, so that an event has
    the same id here, there, and where it is made from a log's line.
    """
    data, context = msgspec.json.decode(msgspec.json.encode((event.data, event.context)))
    if isinstance(data, str):
        # Of a browser, where it is JSON inside of JSON.
        try:
            data = msgspec.json.decode(data)
        except msgspec.DecodeError:
            data = {}
    return {"name": event.name, "timestamp": event.timestamp.isoformat(), "data": data or {}, "context": context}


def _as_dict(made: Any) -> dict[str, Any]:
    """A statement of tincan's, or a Caliper event, as a dict."""
    found: dict[str, Any] = made if isinstance(made, dict) else msgspec.json.decode(made.to_json())
    return found


def _reason_for(error: Exception, event: Event, transformer: Any, given: dict[str, Any]) -> Exception:
    """What an error of a transformer means for its event. Without the error's text, which may name a person."""
    database = import_module("django.db")
    if isinstance(error, database.OperationalError | database.InterfaceError):
        return TryLaterError(f"the LMS's database cannot be asked now: {type(error).__name__}")
    if isinstance(error, ImportError):
        return TryLaterError(
            "event-routing-backends cannot import some of the LMS's code: run the worker in the LMS's environment",
            retry_class="setup",
        )
    if isinstance(error, RecursionError):
        return error
    try:
        somebody = transformer(given).extract_username_or_userid()
    except Exception:  # then what was wrong at first is what counts
        somebody = True
    if not somebody:
        return DropEvent(UNIDENTIFIED)
    return UndeliverableError(
        TRANSFORM,
        f"event {event.id}: {type(error).__name__} in event-routing-backends' {transformer.__name__}: its user, its "
        "course or a field may be missing; mend that, then retry the dead letter",
    )
