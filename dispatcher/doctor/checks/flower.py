"""Does Flower, if it runs, ask for a login?"""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import urlsplit

from dispatcher.connections.urls import is_local
from dispatcher.doctor.deployment import Deployment
from dispatcher.doctor.finding import Check, Finding

# Seconds for one answer.
_TIMEOUT_SECONDS: Final = 2.0
#: Where `dispatcher flower` listens by default.
ADDRESS: Final = "http://127.0.0.1:5555"
# Pages that need a login. Flower has a separate switch for those of its API.
_PAGES: Final = ("/workers", "/api/workers")
_MAX_BYTES: Final = 100_000
_WEAK: Final = frozenset({"", "password", "secret", "admin", "flower", "changeme", "user", "test", "123456"})

LOGIN: Final = Check(
    "flower.login",
    "Whether Flower's pages and API can be seen without a login.",
    "start it with `dispatcher flower`, which requires FLOWER_BASIC_AUTH, and without FLOWER_UNAUTHENTICATED_API",
)
PASSWORD: Final = Check(
    "flower.password",
    "Whether FLOWER_BASIC_AUTH, if it is set here, has passwords that are easy to guess.",
    "set FLOWER_BASIC_AUTH to user:password with a long random password",
)

CHECKS: Final = (LOGIN, PASSWORD)


def check(deployment: Deployment) -> Iterator[Finding]:
    """Check the environment variables, and probe Flower's address."""
    yield from environment(deployment.environ)
    yield probe(deployment.flower)


def environment(environ: Mapping[str, str]) -> Iterator[Finding]:
    """The findings about FLOWER_ variables, if this process has them."""
    if environ.get("FLOWER_UNAUTHENTICATED_API", "").lower() in ("1", "true", "yes"):
        yield LOGIN.warning("FLOWER_UNAUTHENTICATED_API opens the API to everybody")
    logins = [login.partition(":") for login in environ.get("FLOWER_BASIC_AUTH", "").split(",") if login]
    if not logins:
        return
    if any(password.lower() in _WEAK or password == user for user, _, password in logins):
        yield PASSWORD.warning("a password in FLOWER_BASIC_AUTH is easy to guess")
    else:
        yield PASSWORD.ok("the passwords in FLOWER_BASIC_AUTH are not the usual ones")


def probe(address: str) -> Finding:
    """Ask for pages without a login. Blocks for some seconds at most."""
    answers = [_answer(address.rstrip("/") + page) for page in _PAGES]
    if all(answer is None for answer in answers):
        return LOGIN.skipped(f"no Flower at {address}; --flower names another address")
    open_pages = [page for page, answer in zip(_PAGES, answers, strict=True) if answer is not None and answer[0] == 200]
    if not open_pages:
        return LOGIN.ok(f"{address} asks for a login")
    if not any("flower" in answer[1] for answer in answers if answer is not None):
        return LOGIN.skipped(f"another program than Flower listens at {address}; --flower names another address")
    what = f"{address}{open_pages[0]} can be seen without a login: who is down and why"
    local = is_local(urlsplit(address).hostname)
    # A local address may be reachable from this machine only. Whether others reach it too cannot be seen from here.
    return LOGIN.warning(what) if local else LOGIN.error(what)


def _answer(url: str) -> tuple[int, str] | None:
    """Status and text, in lower case; None without an answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())
    try:
        with opener.open(url, timeout=_TIMEOUT_SECONDS) as response:
            head = f"{response.headers.get('Server', '')} {response.read(_MAX_BYTES).decode('utf-8', 'replace')}"
            return response.status, head.lower()
    except urllib.error.HTTPError as error:
        error.close()
        return error.code, ""
    except (OSError, ValueError):
        return None


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Takes a redirect, to the login page, as an answer."""

    def redirect_request(self, *_: object, **__: object) -> None:
        return None
