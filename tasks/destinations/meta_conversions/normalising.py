"""Normalising: customer information is normalised and hashed by Meta's rules. Pure.

A value that Meta's own SDK takes gets the same hash as there (facebook_business.adobjects.serverside.normalize), so
that both find the same person. A value that it refuses is corrected if Meta's rules say how, else left out. Source:
https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/customer-information-parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from dispatcher.tasks.destinations.meta_conversions.countries import COUNTRIES

_SHA256: Final = re.compile(r"[a-f0-9]{64}")
# Meta's SDK takes an MD5 as a hash too.
_MD5: Final = re.compile(r"[a-f0-9]{32}")

_NOT_IN_PHONE: Final = re.compile(r"[\W_]")
# Country code, area code and number have at least so many digits.
_PHONE: Final = re.compile(r"\d{7,}")
_NOT_IN_PLACE: Final = re.compile(r"[0-9.\s\-()]")
_BIRTHDAYS: Final = (
    re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})"),
    re.compile(r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})(?:[t ].*)?"),
)
# Characters of a value that is remembered with its hash.
_MAX_REMEMBERED: Final = 256
_FIRST_BIRTH_YEAR: Final = 1900
_GENDERS: Final = MappingProxyType({"m": "m", "male": "m", "f": "f", "female": "f"})


def hashed(field: str, value: str | int) -> str | None:
    """The SHA-256 of a value, normalised by the field's rules; a value that is hashed already stays.

    Args:
        field: Meta's name of the field, one of ``HASHED_FIELDS``.
        value: The value in clear, or its hash.

    Returns:
        Lower-case hexadecimal digits; None if the field cannot have such a value, as a phone number with letters.
    """
    is_short = isinstance(value, int) or len(value) <= _MAX_REMEMBERED
    return _hash(field, value) if is_short else _hash.__wrapped__(field, value)


# A person's events come together. Types count, since 1 equals True.
@lru_cache(maxsize=1024, typed=True)
def _hash(field: str, value: str | int) -> str | None:
    text = str(value).lower().strip()
    if _SHA256.fullmatch(text):
        return text
    # Somebody's id may look like an MD5: the ids of edX's anonymous users do.
    if field != "external_id" and _MD5.fullmatch(text):
        return text
    normal = _RULES[field](text)
    return sha256(normal.encode()).hexdigest() if normal else None


def _email(text: str) -> str | None:
    # What .+@.+\..+ would match; but that takes time in proportion to the square of the text's length.
    line = text.partition("\n")[0]
    at, dot = line.find("@", 1), line.rfind(".", 0, -1)
    return text if 0 < at < dot - 1 else None


def _phone(text: str) -> str | None:
    digits = _NOT_IN_PHONE.sub("", text).lstrip("0")
    return digits if _PHONE.fullmatch(digits) else None


def _birthday(text: str) -> str | None:
    # Only with the year first: otherwise the second of March may be the third of February.
    for form in _BIRTHDAYS:
        if match := form.fullmatch(text):
            try:
                day = date(*map(int, match.groups()))
            except ValueError:
                return None
            return f"{day:%Y%m%d}" if day.year >= _FIRST_BIRTH_YEAR else None
    return None


def _place(text: str) -> str:
    return _NOT_IN_PLACE.sub("", text)


def _postcode(text: str) -> str:
    # What comes after a dash is a refinement, as in ZIP+4.
    return re.sub(r"\s", "", text).split("-")[0]


def _country(text: str) -> str | None:
    # Meta knows the hash of each code; the hash of any other text would match no person.
    code = re.sub(r"[^a-z]", "", text)
    return code if code in COUNTRIES else None


def _unchanged(text: str) -> str:
    return text


_RULES: Final[Mapping[str, Callable[[str], str | None]]] = MappingProxyType(
    {
        "em": _email,
        "ph": _phone,
        "fn": _unchanged,
        "ln": _unchanged,
        "db": _birthday,
        "ge": _GENDERS.get,
        "ct": _place,
        "st": _place,
        "zp": _postcode,
        "country": _country,
        "external_id": _unchanged,
    }
)

#: The fields that are sent hashed, by Meta's names.
HASHED_FIELDS: Final = tuple(_RULES)
