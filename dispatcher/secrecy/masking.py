"""Masking: credentials and addresses inside texts and settings are replaced, wherever they stand. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote

from dispatcher.secrecy.secret_names import is_secret

#: Stands in the place of what must not be shown.
MASK: Final = "***"

# The beginning of a URL, also of one inside the query of another, where its punctuation is percent-encoded.
_SCHEME: Final = re.compile(r"(?<![a-zA-Z0-9+.-])[a-zA-Z][a-zA-Z0-9+.-]{0,30}(?:://|%3[aA]%2[fF]%2[fF])")
_URL_KEY: Final = re.compile(r"(?:ur[il]s?|proxy|broker)$", re.IGNORECASE)
# What ends a URL in a sentence. A password may hold all of these all the same.
_END: Final = re.compile(r"[\s\"'`<>]")
# What may stand between two URLs of a list, before the second one.
_BETWEEN_URLS: Final = re.compile(r"(?:[,;|=&?#/()\[\]{}]|%[0-9a-fA-F]{2})$")
_USER: Final = re.compile(r"[^/?#:@\s\[]*:")
_ENCODED_USER: Final = re.compile(r"(?:(?!%2[fF]|%3[aAfF]|%40)[^/?#:@&\s])*(?:%3[aA]|:)")
# A port, which stands where a password could; the word stands in examples.
_PORT: Final = re.compile(r"(?:\d{1,5}|port|PORT)(?![^/?#;,.:)\]\s\"'`<>])")
# A user that is too long for a name, as tokens and Sentry's public keys are, or may hold an encoded colon.
_TOKEN_USER: Final = re.compile(r"(?:[\w.~-]{20,500}|[\w.~-]{0,500}%[^/?#@\s]{0,500})@")
# name=value, as in queries, DSNs and command lines. The name may be percent-encoded.
_ASSIGNMENT: Final = re.compile(r"(?<![\w.%-])([\w.%-]{1,100}) ?= ?(\"[^\"]*\"|'[^']*'|[^&#\s;,\"'<>)\]}]+)")
# "name": "value", as JSON and Python write it; the quotes may be escaped once more.
_FIELD: Final = re.compile(
    r"([\"'])([\w.-]{1,100})(\\?[\"']\s?:\s?)(\\?\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'|[^\s,}\]]+)"
)
_HEADER: Final = re.compile(
    r"\b((?:proxy-)?authorization|(?:set-)?cookie|x-(?:api|auth|access)-(?:key|token))(\s?:(?!\s?\*\*\*)\s?)[^\r\n\"'<>]+",
    re.IGNORECASE,
)
_BEARER: Final = re.compile(r"\b(bearer|basic)( )[\w.+/~=-]{8,}", re.IGNORECASE)
# An address inside a text. With a dot in the domain, so that no usage key of Open edX is one
# (block-v1:Org+C+R+type@video+block@intro); RFC 5321, 4.5.3.1.1 has the limit of 64 characters.
_ADDRESS: Final = re.compile(r"(?<![\w.+'-])[\w.+'-]{1,64}+(?:@|%40)(?=[\w-]{1,63}\.)[\w.-]+")


def mask_url(text: str) -> str:
    """The text with every credential in it replaced: passwords in URLs, and values of secret names.

    A password may stand between user and host, in the query, or as ``name=value`` anywhere; there may be several URLs,
    of any scheme, in one text. What cannot be told from a password is replaced too.

    Args:
        text: A URL, a sentence that quotes URLs, an error of somebody else.
    """
    if "://" in text or "%2" in text:
        text = _mask_users(text)
    if "=" in text:
        text = _ASSIGNMENT.sub(_without_value, text)
    if ":" in text:
        text = _FIELD.sub(_without_field, text)
        text = _HEADER.sub(rf"\1\2{MASK}", text)
    return _BEARER.sub(rf"\1\2{MASK}", text)


def mask_addresses(text: str) -> str:
    """The text with every e-mail address in it replaced, also percent-encoded ones."""
    return _ADDRESS.sub(MASK, text) if "@" in text or "%40" in text else text


def mask(key: str, value: Any) -> Any:
    """The value as it may be shown under this key; tables and lists are masked all the way down.

    Args:
        key: The value's key. The items of a list have that of the list.
        value: Anything that settings may hold. It stays as it is.
    """
    if value is not None and not isinstance(value, bool) and is_secret(key):
        return MASK
    if isinstance(value, str):
        if "@" in value and "://" not in value and _URL_KEY.search(key):
            # Without a scheme, or with half of one, it is still meant for a URL.
            return MASK + value[value.rindex("@") :]
        return mask_url(value)
    if isinstance(value, Mapping):
        return {inner: mask(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(mask(key, item) for item in value) if type(value) in (list, tuple) else value
    return value


def _mask_users(text: str) -> str:
    schemes = list(_SCHEME.finditer(text))
    if not schemes:
        return text
    shown = [text[: schemes[0].start()]]
    current = schemes[0]
    for following in [*schemes[1:], None]:
        rest = text[current.end() : None if following is None else following.start()]
        is_encoded = "%" in current[0]
        if following is None or not _is_password(rest, is_encoded=is_encoded):
            shown += [current[0], _mask_user(rest, is_encoded=is_encoded)]
            current = following or current
    return "".join(shown)


def _is_password(rest: str, *, is_encoded: bool) -> bool:
    """Whether what looks like the next scheme of a text stands inside a password, which ``rest`` begins."""
    user = _ENCODED_USER.match(rest) if is_encoded else _USER.match(rest)
    if user is None or _END.search(rest) is not None:
        return False
    if "@" in rest or (is_encoded and "%40" in rest):
        return _BETWEEN_URLS.search(rest) is None
    return _PORT.match(rest, user.end()) is None


def _mask_user(rest: str, *, is_encoded: bool) -> str:
    """What stands behind a scheme, up to the next URL of the text, without its password."""
    end = _END.search(rest)
    url = rest if end is None else rest[: end.start()]
    user = _ENCODED_USER.match(rest) if is_encoded else _USER.match(rest)
    if user is None:
        return MASK + rest[rest.index("@") :] if _TOKEN_USER.match(rest) else rest
    # Up to the last @: a password that holds one unescaped would otherwise show its second half.
    at = max(url.rfind("@"), url.rfind("%40") if is_encoded else -1)
    if at < 0:
        if _PORT.match(rest, user.end()) or user.end() == len(url):
            return rest
        # A password with a blank or a quote in it, or no host at all. An @ further on in the line ends it.
        line_end = rest.find("\n") if "\n" in rest else len(rest)
        at = max(rest.rfind("@", user.end(), line_end), len(url) if user.end() < len(url) else -1)
        if at < 0:
            return rest
    return f"{rest[: user.end()]}{MASK}{rest[at:]}"


def _without_value(found: re.Match[str]) -> str:
    name, value = found[1], found[2]
    if not is_secret(unquote(name)) or value.strip("\"'") in ("", MASK, "…"):
        return found[0]
    quote = value[0] if value[0] in "\"'" else ""
    return f"{found[0][: found.start(2) - found.start()]}{quote}{MASK}{quote}"


def _without_field(found: re.Match[str]) -> str:
    if not is_secret(found[2]) or found[4] in ("null", "None", "true", "false"):
        return found[0]
    return f"{found[1]}{found[2]}{found[3]}{found[1]}{MASK}{found[1]}"
