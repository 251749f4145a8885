"""Hashing: how what names a person becomes what only those who know the name already can make out."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any, Final

_HASHED: Final = re.compile(r"[0-9a-fA-F]{64}")


def hashed_text(text: str) -> str:
    """SHA-256 in hex of the text, trimmed and in lower case; a text that is a hash already stays.

    So Meta and Google Ads ask for e-mail addresses
    (https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/customer-information-parameters,
    https://support.google.com/google-ads/answer/7659159).
    """
    if _HASHED.fullmatch(text):
        return text
    # JSON may hold halves of a surrogate pair, which UTF-8 has no form for.
    return sha256(text.strip().lower().encode("utf-8", "surrogatepass")).hexdigest()


def hashed(value: Any) -> Any:
    """The value with every text and number in it hashed. Null, true, false and empty texts say nothing and stay."""
    if isinstance(value, str):
        return hashed_text(value) if value.strip() else value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {key: hashed(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [hashed(item) for item in value]
    return hashed_text(json.dumps(value))
