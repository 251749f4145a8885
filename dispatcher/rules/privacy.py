"""Privacy: personal data that a destination must not get is dropped, masked or hashed. Pure."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dispatcher.event import DIRECT_TYPES
from dispatcher.rules.hashing import hash_text, hash_value
from dispatcher.secrecy.masking import MASK
from dispatcher.templates.field_path import MISSING, FieldPath, change_at, field_paths

if TYPE_CHECKING:
    from collections.abc import Callable

    from dispatcher.config.rules import EmailTreatment, PrivacySettings
    from dispatcher.event import Event

# An address, and nothing around it. Without quotes in the local part, and with a dot in the domain, so that no usage
# key of Open edX is one (block-v1:Org+C+R+type@video+block@intro).
_ADDRESS: Final = re.compile(r"[\w.!#$%&'*+/=?^`{|}~-]+@[\w-]+(?:\.[\w-]+)+")
# The longest address that mail can be sent to (RFC 5321, 4.5.3.1.3).
_ADDRESS_CHARACTERS: Final = 254
# email, e_mail, mail, userEmail, emails, email_address, EmailAddresses: what is left of the key without its borders.
_ADDRESS_KEY: Final = re.compile(r".*mail(s|addr|address|addresses)?")
# Longer keys are not cached: a stranger's, of a megabyte each, would fill the memory.
_CACHED_KEY_CHARACTERS: Final = 100
_BORDER: Final = re.compile(r"[\W_]+")


class Privacy:
    """Applies the privacy table of one destination. Immutable; may be shared by threads.

    Args:
        table: What is to be done.
        emails: What becomes of e-mail addresses if the table does not say.
    """

    def __init__(self, table: PrivacySettings, *, emails: EmailTreatment) -> None:
        treatment = emails if table.emails is None else table.emails
        self._emails = None if treatment == "keep" else _TREATMENTS[treatment]
        self._changes: tuple[tuple[FieldPath, Callable[[Any], Any]], ...] = (
            *((path, _drop) for path in field_paths(table.drop)),
            *((path, _mask) for path in field_paths(table.mask)),
            *((path, hash_value) for path in field_paths(table.hash)),
        )

    @property
    def changes_nothing(self) -> bool:
        """Whether every event stays as it is."""
        return not self._changes and self._emails is None

    def apply(self, event: Event) -> Event:
        """The event without what the destination must not get. It has copies of what changes, and shares the rest."""
        fields = {"data": event.data, "context": event.context}
        for path, change in self._changes:
            fields = change_at(fields, path, change, widely=True)
            if path[0] == "context" and event.type in DIRECT_TYPES:
                # A call to Segment may have a context of its own, which stands in its data.
                fields = change_at(fields, ("data", *path), change, widely=True)
        if self._emails is not None:
            fields = {root: _treat_addresses(value, self._emails, under_key=False) for root, value in fields.items()}
        data, context = fields["data"], fields["context"]
        if data is event.data and context is event.context:
            return event
        return msgspec.structs.replace(event, data={} if data is MISSING else data, context=context)


def is_address(text: str) -> bool:
    """Whether the text is an e-mail address and nothing else, blanks around it aside."""
    text = text.strip()
    return "@" in text and len(text) <= _ADDRESS_CHARACTERS and _ADDRESS.fullmatch(text) is not None


def is_address_key(key: str) -> bool:
    """Whether texts under this key are e-mail addresses by its name."""
    return _matches_cached(key) if len(key) <= _CACHED_KEY_CHARACTERS else _matches(key)


def _matches(key: str) -> bool:
    return _ADDRESS_KEY.fullmatch(_BORDER.sub("", key).lower()) is not None


# Keys are mostly the same few. Those from browsers may be any, so the cache has a bound.
_matches_cached: Final = lru_cache(maxsize=2048)(_matches)


def _treat_addresses(value: Any, treat: Callable[[str], Any], *, under_key: bool) -> Any:
    """The value with every e-mail address treated; the value itself if it has none.

    Args:
        value: An object, a list or anything else of JSON.
        treat: Gets an address and returns what is to stand in its place; MISSING takes it away.
        under_key: Whether the key above says that texts are addresses, whatever they look like.
    """
    if isinstance(value, str):
        return treat(value) if value and (under_key or is_address(value)) else value
    if isinstance(value, dict):
        treated = {key: _treat_addresses(inner, treat, under_key=is_address_key(key)) for key, inner in value.items()}
        # The names of fields come from callers too, as in {"ada@example.org": 3}.
        named = [key for key in value if "@" in key and is_address(key)]
        if not named and all(new is value[key] for key, new in treated.items()):
            return value
        for number, key in enumerate(named):
            name, inner = treat(key), treated.pop(key)
            if name is not MISSING:
                treated[f"{name}{number + 1}" if name in treated else name] = inner
        return {key: new for key, new in treated.items() if new is not MISSING}
    if isinstance(value, list):
        items = [_treat_addresses(item, treat, under_key=under_key) for item in value]
        if all(new is old for new, old in zip(items, value, strict=True)):
            return value
        return [item for item in items if item is not MISSING]
    return value


def _drop(_: object) -> object:
    return MISSING


def _mask(value: object) -> object:
    # Null holds nothing personal, and that a field is empty is worth knowing.
    return value if value is None else MASK


_TREATMENTS: Final[dict[str, Callable[[str], Any]]] = {"hash": hash_text, "mask": _mask, "drop": _drop}
