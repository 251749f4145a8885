"""A site with pages that have the browser's client, and a small collector behind the same address."""

from __future__ import annotations

import json
from typing import Any

from dispatcher.collector.client import files
from tests.support.vendor import Call, Reply, Vendor

#: The path that events are posted to.
EVENTS = "/v1/events"


class EventsSite(Vendor):
    """Takes events at ``EVENTS``, and serves pages everywhere else. ``taken`` counts the copies of each event by id.

    - ``/tracker.js`` and its neighbours are the client's files. ``/none.js`` never comes.
    - ``/page…`` has tracker.js, ``/logger…`` the Logger layer too, ``/module`` the ES module for micro-frontends.
    - ``?policy=TEXT`` becomes the page's Content-Security-Policy; ``?stub`` has the stub in front of a script that
      never comes; ``?attributes=TEXT`` are those of the script's element.
    """

    def __init__(self) -> None:
        super().__init__()
        #: Every item that was taken, in order.
        self.events: list[dict[str, Any]] = []
        #: Replies to posts in turn, round and round; None takes the events.
        self.faults: list[Reply | None] = []
        self._posts = 0

    def answer(self, call: Call) -> Reply:
        if call.method == "GET":
            return self._page(call)
        self._posts += 1
        if self.faults and (fault := self.faults[self._posts % len(self.faults)]) is not None:
            return fault
        request = json.loads(call.content)
        self.events += request["events"]
        body = json.dumps({"accepted": len(request["events"]), "rejected": []}).encode()
        return Reply(body=body, taken=[event["id"] for event in request["events"]])

    def _page(self, call: Call) -> Reply:
        name = call.path.removeprefix("/")
        if found := files.find(name):
            return Reply(body=found[0].body, headers=found[0].headers(versioned=found[1]))
        headers = {"content-type": "text/html; charset=utf-8"}
        if policy := call.query.get("policy"):
            headers["content-security-policy"] = policy
        source = f'<script src="/tracker.js" data-key="web" {call.query.get("attributes", "")}></script>'
        if "stub" in call.query:
            source = "<script>" + files.snippet("web").split("<script>")[1].split("</script>")[0] + "</script>"
        if name.startswith("logger"):
            source += f'<script src="/logger.js" {call.query.get("logger", "")}></script>'
        if name.startswith("module"):
            source = '<script type="module">import S from "/mfe.mjs"; window.Service = S;</script>'
        text = f'<!doctype html><title>{name}</title>{source}<a id="next" href="/page-next">Next</a>'
        return Reply(body=text.encode(), headers=headers)
