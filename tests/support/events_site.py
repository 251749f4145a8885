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

    - ``/tracker.js`` and its neighbours are the client's files, beside ``files``. ``/none.js`` never comes.
    - ``/page…`` has tracker.js; ``/logger…`` the Logger layer too, and sends at once; ``/module`` the ES modules, as
      ``Tracker`` and the micro-frontends' ``Service``.
    - ``?policy=TEXT`` becomes the page's Content-Security-Policy; ``?stub=BASE`` has the stub of a collector there
      in front of a script that never comes; ``?attributes=TEXT`` are those of the script's element; ``?none`` has no
      tracker.js.
    - ``?before=PATHS`` and ``?behind=PATHS`` have scripts before and behind the client's.
    - ``/event`` takes the requests of pages that have no tracker.js.
    """

    def __init__(self) -> None:
        super().__init__()
        #: Every item that was taken, in order.
        self.events: list[dict[str, Any]] = []
        #: Replies to posts in turn, round and round; None takes the events.
        self.faults: list[Reply | None] = []
        #: Scripts of pages, by their path.
        self.files: dict[str, bytes] = {}
        self._posts = 0

    def answer(self, call: Call) -> Reply:
        if call.path.endswith("/event"):
            return Reply(body=b"success", headers={"content-type": "text/plain"})
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
        if call.path in self.files:
            return Reply(body=self.files[call.path], headers={"content-type": "text/javascript"})
        headers = {"content-type": "text/html; charset=utf-8"}
        if policy := call.query.get("policy"):
            headers["content-security-policy"] = policy
        attributes = call.query.get("attributes", "data-delay=0" if name.startswith("logger") else "")
        source = f'<script src="/tracker.js" data-key="web" {attributes}></script>'
        if "stub" in call.query:
            source = (
                "<script>"
                + files.snippet("web", base=call.query["stub"]).split("<script>")[1].split("</script>")[0]
                + "</script>"
            )
        if "none" in call.query:
            source = ""
        if name.startswith("logger"):
            source += f'<script src="/logger.js" {call.query.get("logger", "")}></script>'
        if name.startswith("module"):
            source = (
                '<script type="module">import T from "/tracker.mjs"; import S from "/mfe.mjs";'
                "Object.assign(window, {Tracker: T, Service: S});</script>"
            )
        source = _scripts(call.query.get("before", "")) + source + _scripts(call.query.get("behind", ""))
        text = f'<!doctype html><title>{name}</title>{source}<a id="next" href="/page-next">Next</a>'
        return Reply(body=text.encode(), headers=headers)


def _scripts(paths: str) -> str:
    return "".join(f'<script src="{path}"></script>' for path in paths.split(",") if path)
