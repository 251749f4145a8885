"""Masking: values under keys that look like credentials, and passwords inside URLs, are never shown."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Final

#: Stands in the place of what must not be shown.
MASK: Final = "***"

# Compound spellings such as apikey and writeKey have no word border, so the end of a word is what counts.
_SECRET_WORD: Final = re.compile(
    r"(key|token|secret|password|passwd|passphrase|pwd|credential|authorization|dsn)s?$", re.IGNORECASE
)
_COMMON_SECRETS: Final = ("key", "token", "secret", "password", "credentials")
_WORD_BORDER: Final = re.compile(r"[^a-zA-Z0-9]+")
# A word that may be a URL, and the part of a URL before its password.
_PIECE: Final = re.compile(r"[^\s;]+")
_USER: Final = re.compile(r"://[^/:@]*:")
_QUERY_VALUE: Final = re.compile(r"([?&]([^?=&#\s;]+)=)[^&#\s;]+")


def is_secret(key: str) -> bool:
    """Whether a key looks like that of a credential: ``write_key``, ``client_secret``, ``apiToken`` and the like."""
    return any(_SECRET_WORD.search(word) for word in _WORD_BORDER.split(key))


def may_be_secret(key: str) -> bool:
    """Whether an unknown key could be that of a credential, misspelt: ``write_ky`` and ``pasword``."""
    words = (word.lower() for word in _WORD_BORDER.split(key))
    return is_secret(key) or any(get_close_matches(word, _COMMON_SECRETS, n=1, cutoff=0.75) for word in words)


def mask_url(text: str) -> str:
    """The text with every password inside a URL replaced, in the user part and in the query."""
    if "://" in text and "@" in text:
        text = _PIECE.sub(_without_password, text)
    return _QUERY_VALUE.sub(lambda found: found[1] + MASK if is_secret(found[2]) else found[0], text)


def _without_password(piece: re.Match[str]) -> str:
    user = _USER.search(piece[0])
    # Up to the last @: a password that holds one unescaped would otherwise show its second half.
    end = piece[0].rfind("@")
    return piece[0] if user is None or end < user.end() else f"{piece[0][: user.end()]}{MASK}{piece[0][end:]}"


def mask(key: str, value: Any) -> Any:
    """The value as it may be shown under this key; tables and lists are masked all the way down.

    Args:
        key: The value's key. The items of a list have that of the list.
        value: Anything that settings may hold. It stays as it is.
    """
    if value is not None and not isinstance(value, bool) and is_secret(key):
        return MASK
    if isinstance(value, str):
        return mask_url(value)
    if isinstance(value, Mapping):
        return {inner: mask(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(mask(key, item) for item in value) if type(value) in (list, tuple) else value
    return value
