"""Secret names: which keys, options, headers and fields of a query hold a credential. One list for all texts."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import Final

# Compound spellings such as apikey and writeKey have no word border, so the end of a word is what counts.
_SECRET_WORD: Final = re.compile(
    r"(key|token|secret|password|passwd|passphrase|passcode|pwd|credential|authorization|dsn|signature|cookie)s?\d*$",
    re.IGNORECASE,
)
# These are secret as whole words only: "oauth", "design" and "bypass" end like them and mean something else.
_WHOLE_WORDS: Final = frozenset({"auth", "sig", "pass", "pw", "jaas", "jwt", "bearer", "sessionid", "apitoken"})
_COMMON_SECRETS: Final = ("key", "token", "secret", "password", "credentials")
_WORD_BORDER: Final = re.compile(r"[^a-zA-Z0-9]+")


def is_secret(key: str) -> bool:
    """Whether a key looks like that of a credential: ``write_key``, ``ssl_password``, ``apiToken``, ``Set-Cookie``.

    Args:
        key: A name of any kind, as TOML, Python, HTTP or a vendor spells it; upper and lower case do not matter.
    """
    return any(_SECRET_WORD.search(word) or word.lower() in _WHOLE_WORDS for word in _WORD_BORDER.split(key))


def may_be_secret(key: str) -> bool:
    """Whether an unknown key could be that of a credential, misspelt: ``write_ky`` and ``pasword``."""
    words = (word.lower() for word in _WORD_BORDER.split(key))
    return is_secret(key) or any(get_close_matches(word, _COMMON_SECRETS, n=1, cutoff=0.75) for word in words)
