"""A Sailthru that enforces its event API's documented contract. A request with "poison" gets 400 with error 99.

The rules are those of
https://getstarted.meetmarigold.com/engagebysailthru/Content/developers/api/event.html and, there, in
api-basics/technical.html and api-basics/responses.html.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import deque
from typing import Any, Final
from urllib.parse import parse_qsl

from tests.support.vendor import POISON, Call, Reply, Vendor

API_KEY: Final = "hidden-api-key"
SECRET: Final = "hidden-secret"

_OWN_NAMES: Final = {"send", "cancel", "open", "click", "purchase", "daily"}
_KEYS: Final = {"email", "extid", "sid", "cookie", "sms", "fb", "twitter"}


class SailthruVendor(Vendor):
    """Takes events of one account; ``taken`` counts them by the var ``event_id``.

    Args:
        requests_per_second: Requests beyond it get 429 and error 43. None for no limit; the account's limit is 40.
    """

    def __init__(self, *, requests_per_second: int | None = None) -> None:
        super().__init__()
        self._requests_per_second = requests_per_second
        self._recent: deque[float] = deque()
        self._recent_lock = threading.Lock()

    def answer(self, call: Call) -> Reply:
        if call.path != "/event":
            return error(404, 99, "Unknown endpoint")
        if call.method != "POST":
            return error(405, 1, "Unsupported HTTPS method")
        if (throttled := self._throttled()) is not None:
            return throttled
        if call.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
            return error(400, 2, "Missing required parameter: api_key")
        try:
            parameters = dict(parse_qsl(call.body.decode("ascii"), strict_parsing=True, errors="strict"))
        except ValueError:
            return error(400, 6, "Invalid UTF-8 characters")
        return _refusal(parameters) or _taken(json.loads(parameters["json"]))

    def _throttled(self) -> Reply | None:
        if self._requests_per_second is None:
            return None
        now = time.monotonic()
        with self._recent_lock:
            while self._recent and now - self._recent[0] >= 1:
                self._recent.popleft()
            if len(self._recent) >= self._requests_per_second:
                headers = {
                    "X-Rate-Limit-Limit": str(self._requests_per_second),
                    "X-Rate-Limit-Remaining": "0",
                    "X-Rate-Limit-Reset": str(int(time.time()) + 1),
                }
                return error(429, 43, "Too many POST requests this minute to /event API", headers)
            self._recent.append(now)
        return None


def error(status: int, code: int, message: str, headers: dict[str, str] | None = None) -> Reply:
    """A refusal in Sailthru's form."""
    body = json.dumps({"error": code, "errormsg": message}).encode()
    return Reply(status=status, body=body, headers={"Content-Type": "application/json", **(headers or {})})


def _refusal(parameters: dict[str, str]) -> Reply | None:
    for name in ("api_key", "sig", "format", "json"):
        if name not in parameters:
            return error(400, 2, f"Missing required parameter: {name}")
    if parameters["api_key"] != API_KEY:
        return error(401, 3, "Invalid API key")
    signed = "".join(sorted(value for name, value in parameters.items() if name != "sig"))
    if parameters["sig"] != hashlib.md5((SECRET + signed).encode(), usedforsecurity=False).hexdigest():
        return error(401, 5, "Authentication failed")
    if parameters["format"] != "json":
        return error(406, 99, "Unknown format")
    try:
        event = json.loads(parameters["json"])
    except ValueError:
        event = None
    return _refusal_of(event) if isinstance(event, dict) else error(400, 2, "Missing required parameter: event")


def _refusal_of(event: dict[str, Any]) -> Reply | None:
    key = event.get("key", "email")
    rules = (
        (isinstance(event.get("id"), str) and event["id"], 2, "Missing required parameter: id"),
        (isinstance(event.get("event"), str) and event["event"], 2, "Missing required parameter: event"),
        (event.keys() <= {"id", "event", "key", "vars"}, 99, "Unknown parameter"),
        (key in _KEYS, 99, "Unknown key"),
        (key != "email" or str(event.get("id")).count("@") == 1, 11, f"Invalid email: {event.get('id')}"),
        (event.get("event") not in _OWN_NAMES, 99, f"Reserved event name: {event.get('event')}"),
        (isinstance(event.get("vars", {}), dict), 99, "vars is not a hash"),
        (POISON not in json.dumps(event), 99, "Invalid vars"),
    )
    return next((error(400, code, message) for kept, code, message in rules if not kept), None)


def _taken(event: dict[str, Any]) -> Reply:
    event_id = event.get("vars", {}).get("event_id")
    taken = () if event_id is None else (str(event_id),)
    return Reply(body=b'{"ok":true}', headers={"Content-Type": "application/json"}, taken=taken)
