"""The URLs that options name: web addresses without credentials, which stand in errors and logs."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator


def parse_url(url: str, problem: str) -> SplitResult:
    """The parts of a web address. Raises ValueError, saying ``problem``, unless it has http or https, and a host."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.fragment:
        raise ValueError(problem)
    if parts.port == 0:
        raise ValueError("the port must be from 1 to 65535")
    return parts


def check_base_url(url: str) -> str:
    """The URL without a slash at its end. Raises ValueError unless it is a scheme and a host, perhaps with a path."""
    problem = "must be a scheme and a host, such as https://api.example.com"
    parts = parse_url(url, problem)
    # A user name in the URL would become an Authorization header, or take the place of the one that is sent.
    if "@" in parts.netloc or parts.query:
        raise ValueError(problem)
    return url.rstrip("/")


def _check_host(url: str) -> str:
    host = check_base_url(url)
    if urlsplit(host).path:
        raise ValueError("must be a scheme and a host, without a path")
    return host


#: Type of an option: where an API is, such as ``https://api.example.com``, perhaps behind a port or a path.
BaseUrl = Annotated[str, AfterValidator(check_base_url)]
#: The same without a path.
Host = Annotated[str, AfterValidator(_check_host)]
