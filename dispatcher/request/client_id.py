"""Client id: how Google Analytics knows a browser, from the cookie that its script has set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: The cookie of gtag.js and analytics.js: version, depth of the domain, and the client id, which has a point inside,
#: such as ``GA1.2.1033501218.1368477899``.
COOKIE: Final = "_ga"
_MAX_CHARACTERS: Final = 100


def client_id_of(cookies: Mapping[str, str]) -> str | None:
    """The client id, such as ``1033501218.1368477899``; None where the cookie is not there or looks otherwise."""
    parts = cookies.get(COOKIE, "").split(".")
    found = ".".join(parts[2:])
    # A cookie is the visitor's to write.
    return found if len(parts) >= 4 and len(found) <= _MAX_CHARACTERS and found.isprintable() else None
