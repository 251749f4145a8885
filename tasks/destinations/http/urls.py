"""Host: the type of an option that says where a vendor's API is, without a path."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def _plain(host: str) -> str:
    url = urlsplit(host)
    # A user name in the URL would become an Authorization header, and stand in errors.
    if url.scheme not in {"http", "https"} or not url.hostname or "@" in url.netloc or url.query or url.fragment:
        raise ValueError("must be a scheme and a host, such as https://api.example.com")
    if url.path.strip("/"):
        raise ValueError("must be a scheme and a host, without a path")
    if url.port == 0:
        raise ValueError("the port must be from 1 to 65535")
    return host.rstrip("/")


#: Scheme and host, such as ``https://api.example.com``, with a port where it is not the scheme's own.
Host = Annotated[str, AfterValidator(_plain)]
