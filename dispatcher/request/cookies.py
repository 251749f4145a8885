"""Cookies: what a Cookie header holds."""

from __future__ import annotations


def read_cookies(header: str) -> dict[str, str]:
    """The cookies of a Cookie header, as browsers send them; of a name that comes twice the first, as in Django."""
    cookies: dict[str, str] = {}
    for pair in header.split(";"):
        name, equals, value = pair.strip().partition("=")
        if equals:
            cookies.setdefault(name.strip(), value.strip().removeprefix('"').removesuffix('"'))
    return cookies
