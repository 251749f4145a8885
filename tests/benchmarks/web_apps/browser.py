"""Browser: what it asks, and what a platform that uses event-tracking binds of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

#: Answers so many requests, one after another.
Ask = Callable[[int], object]

#: A view that does nothing, in an app without a middleware for events; and one that emits, behind such a middleware.
BARE: Final = "/courses/course-v1:ExampleX+Bees+7/bare"
EMITS: Final = "/courses/course-v1:ExampleX+Bees+7/emits"
ADDRESS: Final = "192.0.2.7"
HEADERS: Final = {
    "host": "courses.example.org",
    "user-agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:141.0) Gecko/20100101 Firefox/141.0",
    "accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "accept-language": "en-GB,en;q=0.7,de;q=0.3",
    "accept-encoding": "gzip, deflate, br",
    "referer": "https://courses.example.org/dashboard",
    "cookie": "_ga=GA1.2.1033501218.1368477899; csrftoken=0123456789abcdef0123456789abcdef",
}


def peer_context(address: str, path: str, headers: Mapping[str, str], ga_cookie: str, user: Any) -> dict[str, Any]:
    """The keys that ours binds, made as plainly as can be."""
    return {
        "session": "",
        "user_id": getattr(user, "pk", None) or "",
        "username": user.get_username() if user is not None else "",
        "ip": headers.get("x-forwarded-for", address).partition(",")[0],
        "host": headers.get("host", ""),
        "agent": headers.get("user-agent", ""),
        "path": path,
        "referer": headers.get("referer", ""),
        "accept_language": headers.get("accept-language", ""),
        "client_id": ".".join(ga_cookie.split(".")[2:]),
        "course_id": "",
        "org_id": "",
    }
