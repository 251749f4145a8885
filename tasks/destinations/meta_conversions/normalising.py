"""Normalising and hashing of customer information. Pure.

What Meta's own SDK takes gets the hash that it gives (facebook_business.adobjects.serverside.normalize), so that both
find the same person. What it refuses is mended where Meta's rules say how, and otherwise left out. The rules:
https://developers.facebook.com/documentation/ads-commerce/conversions-api/parameters/customer-information-parameters
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from dispatcher.tasks.destinations.meta_conversions.countries import COUNTRIES

_SHA256: Final = re.compile(r"[a-f0-9]{64}")
# Meta's SDK takes MD5 for hashed as well.
_MD5: Final = re.compile(r"[a-f0-9]{32}")

_NOT_IN_PHONE: Final = re.compile(r"[\W_]")
# Digits: country code, area code and number have so many at the least.
_PHONE: Final = re.compile(r"\d{7,}")
_NOT_IN_PLACE: Final = re.compile(r"[0-9.\s\-()]")
_BIRTHDAYS: Final = (
    re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})"),
    re.compile(r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})(?:[t ].*)?"),
)
_FIRST_BIRTH_YEAR: Final = 1900
_GENDERS: Final = MappingProxyType({"m": "m", "male": "m", "f": "f", "female": "f"})


def hashed(field: str, value: str | int) -> str | None:
    """The SHA-256 of a value, normalised by the field's rules; what is hashed already stays.

    Args:
        field: Meta's name of it: one of ``HASHED_FIELDS``.
        value: In clear, or its hash.

    Returns:
        Lower-case hexadecimal. None where the value is none of that field, such as a phone number with letters.
    """
    text = str(value).lower().strip()
    if _SHA256.fullmatch(text):
        return text
    # Somebody's id may well look like MD5: those of edX's anonymous users do.
    if field != "external_id" and _MD5.fullmatch(text):
        return text
    normal = _RULES[field](text)
    return sha256(normal.encode()).hexdigest() if normal else None


def _email(text: str) -> str | None:
    # As .+@.+\..+ would find it, which takes time in proportion to the square of the text.
    line = text.partition("\n")[0]
    at, dot = line.find("@", 1), line.rfind(".", 0, -1)
    return text if 0 < at < dot - 1 else None


def _phone(text: str) -> str | None:
    digits = _NOT_IN_PHONE.sub("", text).lstrip("0")
    return digits if _PHONE.fullmatch(digits) else None


def _birthday(text: str) -> str | None:
    # Only with the year in front: nobody can tell the second of March from the third of February.
    for form in _BIRTHDAYS:
        if found := form.fullmatch(text):
            try:
                day = date(*map(int, found.groups()))
            except ValueError:
                return None
            return f"{day:%Y%m%d}" if day.year >= _FIRST_BIRTH_YEAR else None
    return None


def _gender(text: str) -> str | None:
    return _GENDERS.get(text)


def _place(text: str) -> str:
    return _NOT_IN_PLACE.sub("", text)


def _postcode(text: str) -> str:
    # What comes after a dash is a refinement, as in ZIP+4.
    return re.sub(r"\s", "", text).split("-")[0]


def _country(text: str) -> str | None:
    # There are so few that Meta knows the hash of each: that of anything else can only be wrong.
    code = re.sub(r"[^a-z]", "", text)
    return code if code in COUNTRIES else None


def _as_it_is(text: str) -> str:
    return text


_RULES: Final[Mapping[str, Callable[[str], str | None]]] = MappingProxyType(
    {
        "em": _email,
        "ph": _phone,
        "fn": _as_it_is,
        "ln": _as_it_is,
        "db": _birthday,
        "ge": _gender,
        "ct": _place,
        "st": _place,
        "zp": _postcode,
        "country": _country,
        "external_id": _as_it_is,
    }
)

#: The fields that are sent hashed, by Meta's names.
HASHED_FIELDS: Final = tuple(_RULES)
