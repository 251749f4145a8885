"""Hashing: what names a person becomes a text that only those who know the name already can recognise."""

from __future__ import annotations

import json
import re
from hashlib import sha256
from typing import Any, Final

_HASHED: Final = re.compile(r"[0-9a-fA-F]{64}")


def hash_text(text: str) -> str:
    """SHA-256 in hex of the text, trimmed and in lower case; a text that is a hash already stays.

    So Meta and Google Ads ask for e-mail addresses
    (https://developers.facebook.com/docs/marketing-api/conversions-api/parameters/customer-information-parameters,
    https://support.google.com/google-ads/answer/7659159).
    """
    if _HASHED.fullmatch(text):
        return text
    # JSON may hold halves of a surrogate pair, which UTF-8 cannot express.
    return sha256(text.strip().lower().encode("utf-8", "surrogatepass")).hexdigest()


def hash_value(value: Any) -> Any:
    """The value with every text and number in it hashed. Null, true, false and empty texts name nobody and stay."""
    if isinstance(value, str):
        return hash_text(value) if value.strip() else value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {key: hash_value(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [hash_value(item) for item in value]
    return hash_text(json.dumps(value))
