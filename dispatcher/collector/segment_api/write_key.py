"""Write key: where a client of Segment's API says which source it is."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dispatcher.collector.route import Request


def write_key_of(request: Request, body: Mapping[str, object] | None = None) -> str | None:
    """The write key of a request: the user of Basic authentication, else ``writeKey`` of the body, else of the query.

    Segment's documentation has a colon behind the key in the Authorization header, and says that it may work without
    (https://segment.com/docs/connections/sources/catalog/libraries/server/http-api/#authentication). Here it does. A
    header of another scheme, or one that is damaged, says nothing.

    Args:
        request: Its headers and its query.
        body: The object that was sent, where one was.

    Returns:
        None where it says none.
    """
    scheme, _, credentials = request.headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(credentials.strip(), validate=True).decode("ascii").partition(":")[0]
        except (binascii.Error, ValueError):
            key = ""
        if key:
            return key
    in_body = body.get("writeKey") if body is not None else None
    if isinstance(in_body, str) and in_body:
        return in_body
    return request.fields().get("writeKey") if request.query else None
