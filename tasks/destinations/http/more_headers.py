"""More headers: those that options add to every request, such as a token's. Settings are checked for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from dispatcher.destinations.base import reveal

if TYPE_CHECKING:
    from collections.abc import Set

    from pydantic import SecretStr

# A header's name (RFC 9110 §5.6.2), and a value that cannot begin another header.
_NAME: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_VALUE: Final = re.compile(r"(?:[!-~](?:[ -~\t]*[!-~])?)?")
# Headers that say how to read the body.
_OF_THE_BODY: Final = frozenset(
    {"connection", "content-encoding", "content-length", "content-type", "host", "transfer-encoding"}
)


def check_headers(
    headers: dict[str, SecretStr], *, own: Set[str] = frozenset(), owner: str = "the destination"
) -> dict[str, SecretStr]:
    """The headers as they are.

    Args:
        headers: Their names and values.
        own: Names in lower case that the destination sets itself, beside those of the body.
        owner: What the error calls the destination.

    Raises:
        ValueError: One of them cannot be a header, or is the destination's own. The text has no value in it.
    """
    for name, value in headers.items():
        if _NAME.fullmatch(name) is None:
            raise ValueError(f"{name!r} is not a header's name")
        if name.lower() in _OF_THE_BODY or name.lower() in own:
            raise ValueError(f"{name} is set by {owner} itself: leave it out")
        if _VALUE.fullmatch(reveal(value)) is None:
            raise ValueError(f"the value of {name} must be visible ASCII characters, without blanks around it")
    return headers
