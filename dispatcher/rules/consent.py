"""Consent: whether a destination may have an event, by the event's own consent and integrations objects. Pure.

Segment's own rules, so that an event means the same to Segment and to every other destination:
https://segment.com/docs/privacy/consent-management/consent-in-segment-connections/ and
https://segment.com/docs/guides/filtering-data/#filtering-with-the-integrations-object
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from dispatcher.errors import DropEvent
from dispatcher.event import DIRECT_TYPES, data_fields
from dispatcher.outcomes import CONSENT, INTEGRATIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dispatcher.event import Event

# The key of the integrations object that speaks for all that it does not name.
_ALL: Final = "All"


class Consent:
    """Looks at events for one destination. Immutable; may be shared by threads.

    Args:
        categories: Those that the destination is mapped to, all of which must have been consented to. Without any,
            consent has no say.
        integration: Its name in the integrations object, upper and lower case as there. None: that has no say.
    """

    def __init__(self, categories: Sequence[str], integration: str | None) -> None:
        self._categories = tuple(categories)
        self._integration = integration

    def check(self, event: Event) -> None:
        """Raise DropEvent where the destination must not have the event, with consent or integrations as reason."""
        consent, integrations = stated_consent(event), stated_integrations(event)
        if consent is None and not integrations:
            return
        objection = self.objection(consent, integrations)
        if objection is not None:
            raise DropEvent(objection)

    def objection(self, consent: object, integrations: Mapping[str, Any]) -> str | None:
        """Why the destination must not have what is marked so; None if it may have it.

        Args:
            consent: The consent object; None for an event without one.
            integrations: The integrations object; empty for an event without one.
        """
        if self._categories and not self._is_consented(consent, integrations):
            return CONSENT
        if self._integration is not None and not is_enabled(self._integration, integrations):
            return INTEGRATIONS
        return None

    def _is_consented(self, consent: object, integrations: Mapping[str, Any]) -> bool:
        # By the table of Segment's documentation, an empty consent object is ignored, unless the event has an
        # integrations object: then it is a refusal.
        if consent is None or (consent == {} and not integrations):
            return True
        # Anything else cannot be read, and counts as a refusal.
        preferences = consent.get("categoryPreferences") if isinstance(consent, dict) else None
        if not isinstance(preferences, dict):
            return False
        return all(preferences.get(category) is True for category in self._categories)


def is_enabled(integration: str, integrations: Mapping[str, Any]) -> bool:
    """Whether an integrations object lets an integration have the event.

    Args:
        integration: Its name, such as ``Google Analytics 4``.
        integrations: Segment's object: names, or ``All``, with true, false, or options in place of true.

    Returns:
        The name's own entry, else that of ``All``, else True.
    """
    for name in (integration, _ALL):
        if (value := integrations.get(name)) is not None:
            return value is not False
    return True


def stated_consent(event: Event) -> object:
    """The consent object of an event; None for an event without one.

    A call to Segment may have one in the call's own context; otherwise the one in the tracking context counts.
    """
    call_context = _call(event).get("context")
    consent = call_context.get("consent") if isinstance(call_context, dict) else None
    return event.context.get("consent") if consent is None else consent


def stated_integrations(event: Event) -> dict[str, Any]:
    """The integrations object of an event; empty for an event without one.

    A call to Segment may have one of its own; otherwise the one in the tracking context counts.
    """
    integrations = _call(event).get("integrations")
    if integrations is None:
        integrations = event.context.get("integrations")
    return integrations if isinstance(integrations, dict) else {}


def _call(event: Event) -> dict[str, Any]:
    return data_fields(event) if event.type in DIRECT_TYPES else {}
