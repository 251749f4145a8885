"""Names of events, parameters and user properties: cleaned as the protocol wants them, or refused. Pure.

Letters are those of any language: "Event names can include English and non-English words and letters"
(https://support.google.com/analytics/answer/13316687). Sources of the rest:
https://developers.google.com/analytics/devguides/collection/protocol/ga4/sending-events#limitations and
https://developers.google.com/analytics/devguides/collection/protocol/ga4/reference#reserved_names.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

from dispatcher.errors import UndeliverableError
from dispatcher.outcomes import INVALID

# Characters.
MAX_NAME: Final = 40
MAX_USER_PROPERTY_NAME: Final = 24

_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_]")
_RESERVED_PREFIXES: Final = ("_", "firebase_", "ga_", "google_", "gtag.")
_RESERVED_EVENTS: Final = frozenset(
    {
        "ad_activeview",
        "ad_click",
        "ad_exposure",
        "ad_query",
        "ad_reward",
        "adunit_exposure",
        "app_clear_data",
        "app_exception",
        "app_install",
        "app_remove",
        "app_store_refund",
        "app_update",
        "app_upgrade",
        "dynamic_link_app_open",
        "dynamic_link_app_update",
        "dynamic_link_first_open",
        "error",
        "first_open",
        "first_visit",
        "notification_dismiss",
        "notification_foreground",
        "notification_open",
        "notification_receive",
        "notification_send",
        "os_update",
        "session_start",
        "user_engagement",
    }
)
# Events that Google takes from apps only.
_APP_EVENTS: Final = frozenset({"ad_impression", "in_app_purchase", "screen_view"})
_RESERVED_USER_PROPERTIES: Final = frozenset(
    {"first_open_time", "first_visit_time", "last_deep_link_referrer", "user_id", "first_open_after_install"}
)

# Characters of a name that is remembered. Longer ones are refused anyway.
_MAX_REMEMBERED: Final = 256
# Characters of a name that an error shows.
_MAX_SHOWN: Final = 80


def event_name(name: str, *, app: bool) -> str:
    """The name of an event, in which every character but letters, digits and underscores becomes an underscore.

    Letters and digits of all languages stay. An accent that is a character of its own becomes one with its letter.

    Args:
        name: The event's name.
        app: Whether the event goes to an app's stream.

    Raises:
        UndeliverableError: ``invalid``: the name is too long, is reserved, does not begin with a letter, or has a sign
            in a word that would lose its meaning without it.
    """
    cleaned = _clean(name, "event name", MAX_NAME)
    if cleaned in _RESERVED_EVENTS or (cleaned in _APP_EVENTS and not app):
        raise _invalid("event name", name, f"{cleaned} is one of Google's own")
    return cleaned


def parameter_name(name: str) -> str:
    """The name of a parameter, cleaned in the same way. Raises UndeliverableError for the same reasons."""
    return _clean(name, "parameter", MAX_NAME)


def user_property_name(name: str) -> str:
    """The name of a user property, cleaned in the same way. Raises UndeliverableError for the same reasons."""
    cleaned = _clean(name, "user property", MAX_USER_PROPERTY_NAME)
    if cleaned in _RESERVED_USER_PROPERTIES:
        raise _invalid("user property", name, f"{cleaned} is one of Google's own")
    return cleaned


def _clean(name: str, what: str, limit: int) -> str:
    # Names come from the code of apps, so most events have the same ones.
    return _clean_short(name, what, limit) if len(name) <= _MAX_REMEMBERED else _clean_any(name, what, limit)


def _clean_any(name: str, what: str, limit: int) -> str:
    cleaned = _NOT_IN_NAMES.sub("_", name) if name.isascii() else _clean_foreign(name, what)
    # The name as it was given is checked too, because cleaning turns the dot of "gtag." into an underscore.
    reserved = next((prefix for prefix in _RESERVED_PREFIXES if name.startswith(prefix)), None)
    if reserved is None and not cleaned[:1].isalpha():
        raise _invalid(what, name, "it must begin with a letter")
    reserved = reserved or next((prefix for prefix in _RESERVED_PREFIXES if cleaned.startswith(prefix)), None)
    if reserved is not None:
        raise _invalid(what, name, f"Google reserves names that begin with {reserved}")
    if len(cleaned) > limit:
        raise _invalid(what, name, f"it has {len(cleaned)} characters, and Google takes {limit}")
    return cleaned


_clean_short: Final = lru_cache(maxsize=4096)(_clean_any)


def _clean_foreign(name: str, what: str) -> str:
    cleaned = ""
    for character in unicodedata.normalize("NFC", name):
        # In Hindi or Thai a sign on a letter is a vowel: with underscores in their place, two words could become one.
        if cleaned[-1:].isalpha() and unicodedata.category(character).startswith("M"):
            raise _invalid(
                what,
                name,
                f"Google takes letters, digits and underscores; U+{ord(character):04X} is not one of them",
            )
        cleaned += character if character.isalpha() or character.isdecimal() or character == "_" else "_"
    return cleaned


def _invalid(what: str, name: str, why: str) -> UndeliverableError:
    return UndeliverableError(INVALID, f"{what} {name[:_MAX_SHOWN]!r}: {why}; rename it in the destination's mapping")
