"""Rules: what the operator wants done with an event before one destination gets it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dispatcher.errors import UndeliverableError
from dispatcher.outcomes import MAPPING
from dispatcher.rules.consent import Consent
from dispatcher.rules.mapping import Mapper
from dispatcher.rules.privacy import Privacy

if TYPE_CHECKING:
    from dispatcher.config import DestinationSettings
    from dispatcher.event import Event


class Rules:
    """Consent, mapping and privacy of one destination, in this order. Immutable; may be shared by threads."""

    def __init__(self, *, consent: Consent | None, mapper: Mapper | None, privacy: Privacy | None) -> None:
        self._consent = consent
        self._mapper = mapper
        self._privacy = privacy

    @classmethod
    def of(cls, table: DestinationSettings, *, integration: str | None, advertising: bool) -> Rules | None:
        """The rules of a destination; None if they would change no event.

        Args:
            table: Its table in the settings.
            integration: What Segment's ``integrations`` object calls its type, if the table does not say; None if
                that object has no say.
            advertising: Whether e-mail addresses are hashed if the table does not say what becomes of them.
        """
        named = (integration if table.integration is None else table.integration) or None
        consent = Consent(table.consent or (), named) if table.consent or named is not None else None
        mapper = Mapper(table.mapping) if table.mapping else None
        privacy = Privacy(table.privacy, emails="hash" if advertising else "keep")
        if consent is None and mapper is None and privacy.changes_nothing:
            return None
        return cls(consent=consent, mapper=mapper, privacy=None if privacy.changes_nothing else privacy)

    def hide(self, event: Event) -> Event:
        """The event without what the destination must not get, whatever consent and mapping say of it.

        Raises:
            RecursionError: Its data is nested too deeply.
        """
        return event if self._privacy is None else self._privacy.apply(event)

    def apply(self, event: Event) -> Event:
        """The event as the destination gets it. The given event stays as it is.

        Raises:
            DropEvent: It does not go there; the reason is consent, integrations or mapping.
            UndeliverableError: A rule cannot be carried out on it.
        """
        if self._consent is not None:
            self._consent.check(event)
        try:
            if self._mapper is not None:
                event = self._mapper.apply(event)
            return event if self._privacy is None else self._privacy.apply(event)
        except RecursionError:
            raise UndeliverableError(MAPPING, "its data is nested too deeply for the rules") from None
