"""Identifiers: which values of an event name a person, a browser or a page, in the form that all vendors take. Pure.

What a browser or a proxy sends may be damaged, cut or somebody's joke. Such a value is left out, and the event is sent:
a vendor that cannot read one value refuses the event, and some refuse the whole request.
"""

from __future__ import annotations

import re
from ipaddress import IPv6Address, ip_address
from typing import Final

#: The longest URL that is taken, in characters: servers refuse longer ones (nginx and Apache by default at 8 KB).
MAX_URL: Final = 8_192
#: The longest name of a browser that is taken, in characters. The longest real ones have some hundred.
MAX_USER_AGENT: Final = 2_048

# Whole numbers beyond that have lost digits on their way through a float.
_MAX_WHOLE_FLOAT: Final = 2**53
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
# What no URL has as it is: blanks, control characters, and what browsers write as %20 and the like. Listed rather than
# ``\s``, which is looked up for each character: so an address is read in a third of the time.
_NOT_IN_URLS: Final = r'\x00-\x20\x7f-\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"<>\\^`{|}'
# A scheme, a host, a port and the rest. A browser sends no name and password. An app that led to a page calls itself
# android-app://com.example. One expression is faster than urlsplit, and than one that ignores case in all of it.
_URL: Final = re.compile(
    r"((?i:https?|android-app|ios-app))://"
    rf"(?:\[[0-9a-fA-F:.]+\]|[^{_NOT_IN_URLS}/?#@:\[\]]+)"
    r"(?::([0-9]{1,5}))?"
    rf"(?:[/?#][^{_NOT_IN_URLS}]*)?"
)
_MAX_PORT: Final = 65_535
# What is an IPv4 address for sure; others take longer to look at.
_IPV4: Final = re.compile(
    r"(?:[1-9][0-9]?|1[0-9][0-9]|2[01][0-9]|22[0-3])(?:\.(?:0|[1-9][0-9]?|1[0-9][0-9]|2[0-4][0-9]|25[0-5])){3}"
)
# An address with a port, as some proxies write it: 192.0.2.7:4711, [2001:db8::7]:4711.
_WITH_PORT: Final = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::[0-9]{1,5})?")


def to_id(value: object) -> str | None:
    """The id that a value is, as text; None if it cannot be one.

    An id is text without control characters, without the blanks around it, and not empty; or a whole number, also 0. A
    float is one if it is whole, as where a table of ids had gaps: 7.0 is 7. True, false, null, lists and objects are
    none. A Decimal or a UUID is text in JSON.

    Args:
        value: Any value of JSON.
    """
    if isinstance(value, str):
        text = value.strip()
        return text if text and (text.isprintable() or not _CONTROL.search(text)) else None
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) <= _MAX_WHOLE_FLOAT else None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def to_address(value: object) -> str | None:
    """The IP address that a value is, in its canonical form; None if it means nothing on other machines.

    Of a list, as in X-Forwarded-For, it is the first one, which is the client's. A port is taken off, and an IPv4
    address that an IPv6 socket has written (``::ffff:192.0.2.7``) becomes IPv4 again.

    Args:
        value: Any value of JSON.
    """
    if not isinstance(value, str):
        return None
    if _IPV4.fullmatch(value):
        return value
    text = value.partition(",")[0].strip()
    match = _WITH_PORT.fullmatch(text)
    try:
        address = ip_address(match[1] or match[2] if match else text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        address = address.ipv4_mapped or address
    return None if address.is_unspecified or address.is_multicast else str(address)


def to_user_agent(value: object) -> str | None:
    """The name of a browser that a value is; None if it has control characters, is empty, or longer than any."""
    return to_id(value) if isinstance(value, str) and len(value) <= MAX_USER_AGENT else None


def to_web_url(value: object) -> str | None:
    """The value if it is the address of a web page, else None: edX's server has "x_module" as that of a component."""
    return value if (value := to_referrer(value)) is not None and value[:4].lower() == "http" else None


def to_referrer(value: object) -> str | None:
    """The value if it is the address of what led to a page: another page, or an app."""
    text = value.strip() if isinstance(value, str) and len(value) <= MAX_URL else ""
    if (match := _URL.fullmatch(text)) is None:
        return None
    return text if match[2] is None or 0 < int(match[2]) <= _MAX_PORT else None


def to_path(value: object) -> str | None:
    """The path of a page that a value is, unquoted as servers tell it; None if it cannot be one, or is too long."""
    return to_id(value) if isinstance(value, str) and len(value) <= MAX_URL else None
