"""A sample web app: a shop that says what its visitors do. Plain WSGI: ``gunicorn dispatcher.local.demo.shop:app``.

It has one page, ``/page``, whose button emits in the browser. Every other answer names the event that the request
led to, so that it can be looked for at the other end.
"""

from __future__ import annotations

import hashlib
import json
import os
from http.cookies import SimpleCookie
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from dispatcher import segment, tracker

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

PRODUCTS = {"tea": 4.5, "coffee": 7.2, "cocoa": 5.9, "cups": 12.0}
#: The variable with the collector's address, which the page loads tracker.js from.
COLLECTOR_VARIABLE = "DEMO_COLLECTOR"
CUSTOMERS = {"ada": 1, "barbara": 2, "edsger": 3, "grace": 4, "joan": 5, "radia": 6}


def app(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
    """Answer one request. Each event carries who asked and from where."""
    if environ.get("PATH_INFO") == "/page":
        start_response("200 OK", [("Content-Type", "text/html; charset=utf-8")])
        page = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
        return [page.replace("COLLECTOR", os.environ.get(COLLECTOR_VARIABLE, "")).encode()]
    cookie = SimpleCookie(environ.get("HTTP_COOKIE", ""))
    # A real shop would sign these, and ask for a password.
    name = cookie["customer"].value if "customer" in cookie else ""
    session = cookie["session"].value if "session" in cookie else uuid4().hex
    with tracker.context("request", _request(environ, name, session)):
        status, answer = _answer(environ["REQUEST_METHOD"], environ.get("PATH_INFO", "/"))
    headers = [("Content-Type", "application/json"), ("Set-Cookie", f"session={session}; Path=/; HttpOnly")]
    if "customer" in answer:
        headers.append(("Set-Cookie", f"customer={answer['customer']}; Path=/; HttpOnly"))
    start_response(status, headers)
    return [json.dumps(answer).encode() + b"\n"]


def _request(environ: WSGIEnvironment, name: str, session: str) -> dict[str, Any]:
    return {
        "username": name,
        "user_id": CUSTOMERS.get(name),
        # Whoever has the session's own key is that visitor, so it is not for those who read events.
        "session": hashlib.sha256(session.encode()).hexdigest(),
        "ip": environ.get("REMOTE_ADDR", ""),
        "agent": environ.get("HTTP_USER_AGENT", ""),
        "host": environ.get("HTTP_HOST", ""),
        "referer": environ.get("HTTP_REFERER", ""),
        "accept_language": environ.get("HTTP_ACCEPT_LANGUAGE", ""),
        "path": environ.get("PATH_INFO", "/"),
    }


def _answer(method: str, path: str) -> tuple[str, dict[str, Any]]:
    match method, path.strip("/").split("/"):
        case "GET", [""]:
            return "200 OK", {"products": PRODUCTS, "customers": list(CUSTOMERS)}
        case "GET", ["products", product] if product in PRODUCTS:
            return _emit("shop.product.viewed", {"product": product, "price": PRODUCTS[product]})
        case "POST", ["basket", product] if product in PRODUCTS:
            return _emit("shop.basket.added", {"product": product, "price": PRODUCTS[product]})
        case "POST", ["orders", product] if product in PRODUCTS:
            return _emit("shop.order.paid", {"order": uuid4().hex[:8], "product": product, "total": PRODUCTS[product]})
        case "POST", ["login", name] if name in CUSTOMERS:
            event_id = segment.identify(CUSTOMERS[name], {"username": name, "email": f"{name}@example.org"})
            return "200 OK", {"event": "identify", "id": event_id, "customer": name}
    return "404 Not Found", {"error": f"there is no {method} {path}; try GET /products/tea or POST /login/ada"}


def _emit(name: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    return "200 OK", {"event": name, "id": tracker.emit(name, data)}
