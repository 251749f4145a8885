"""Visits: the requests of the shop's visitors, over real HTTP, and the events that its answers name."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from dispatcher.errors import DispatcherError
from dispatcher.local.demo.shop import CUSTOMERS, PRODUCTS

#: How many come, and how many of them at a time.
VISITORS: Final = 60
_AT_A_TIME: Final = 8
_TIMEOUT_SECONDS: Final = 10.0


class DemoError(DispatcherError):
    """The demo cannot go on. The message says why."""


@dataclass(frozen=True, slots=True)
class Emitted:
    """An event that was taken: its name and its id."""

    name: str
    id: str


def plan(number: int) -> list[tuple[str, str]]:
    """The requests of one visitor. One in three leaves without buying."""
    products, customers = list(PRODUCTS), list(CUSTOMERS)
    first, second = products[number % 4], products[(number + 1) % 4]
    requests = [
        ("GET", f"/products/{first}"),
        ("POST", f"/login/{customers[number % len(customers)]}"),
        ("GET", f"/products/{second}"),
        ("GET", f"/products/{first}"),
        ("POST", f"/basket/{first}"),
    ]
    return requests if number % 3 == 2 else [*requests, ("POST", f"/orders/{first}")]


def visit_all(port: int, done: Callable[[], None]) -> list[list[Emitted]]:
    """Send the visitors to the shop. Returns the events of each; ``done`` is called after each request, from threads.

    Raises:
        DemoError: The shop refused a request or hung up.
    """
    with ThreadPoolExecutor(_AT_A_TIME) as threads:
        return list(threads.map(lambda number: _visit(port, number, plan(number), done), range(VISITORS)))


def _visit(port: int, number: int, requests: Sequence[tuple[str, str]], done: Callable[[], None]) -> list[Emitted]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
    cookies: dict[str, str] = {}
    emitted = []
    try:
        for method, path in requests:
            emitted.append(_send(connection, method, path, cookies, f"Mozilla/5.0 (visitor {number})"))
            done()
    except (OSError, http.client.HTTPException) as error:
        raise DemoError(f"the shop hung up: {type(error).__name__}: {error}") from error
    finally:
        connection.close()
    return emitted


def _send(
    connection: http.client.HTTPConnection, method: str, path: str, cookies: dict[str, str], agent: str
) -> Emitted:
    cookie = "; ".join(f"{key}={value}" for key, value in cookies.items())
    connection.request(method, path, headers={"User-Agent": agent, "Cookie": cookie, "Accept-Language": "en"})
    response = connection.getresponse()
    body = response.read()
    if response.status != 200:
        raise DemoError(f"the shop answered {response.status} to {method} {path}: {body[:200]!r}")
    for header in response.headers.get_all("Set-Cookie", []):
        key, _, value = header.partition(";")[0].partition("=")
        cookies[key] = value
    answer = json.loads(body)
    return Emitted(answer["event"], answer["id"])
