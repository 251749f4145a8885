"""The class for micro-frontends in a real Chromium: what frontend-platform and frontend-base ask of a service.

The cases are those of the interface tests that both have.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.support import browser as chromium
from tests.support.browser import Browser
from tests.support.events_site import EventsSite
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(bool(chromium.missing()), reason=f"not installed: {chromium.missing()}")

WITH_KEY = {"TRACKER_KEY": "web"}
BY_CLIENT = {**WITH_KEY, "TRACKER_TRANSPORT": "httpClient"}
#: frontend-base names its settings so.
OF_BASE = {"trackerKey": "web", "trackerTransport": "httpClient"}
UNIDENTIFIED = "Identify must be called before other tracking events."


@pytest.fixture
def micro(web: EventsSite, driven: Browser) -> Micro:
    return Micro(web, driven)


class Micro:
    """A page that has an analyticsService, made anew for each ``call``."""

    def __init__(self, web: EventsSite, driven: Browser) -> None:
        self._web, self._browser = web, driven
        self._seen: set[str] = set()

    def call(self, script: str, **config: Any) -> dict[str, Any]:
        """Run a script with ``service``. Returns what was ``posted`` and ``logged``, the ``result``, and ``events``.

        ``fails`` in the settings has posts fail with a text.
        """
        self._browser.open(f"{self._web.url}/module")
        wait_for(lambda: self._browser.run("return !!window.Service"))
        settings = {"LMS_BASE_URL": self._web.url, "lmsBaseUrl": self._web.url} | config
        did = self._browser.run(
            """
            const posted = [], logged = [], config = arguments[0];
            const httpClient = () => undefined;
            httpClient.post = async (...args) => { posted.push(args); if (config.fails) throw config.fails; };
            const loggingService = {logError: (error) => logged.push(error)};
            const service = new Service({httpClient, loggingService, config});
            return (async () => {
                const result = await (async () => { """
            + script
            + """ })().catch((error) => error.message);
                const kept = Object.keys(localStorage).filter((name) => !name.includes('!'));
                return {posted, logged, result, kept, isIdentified: service.hasIdentifyBeenCalled};
            })();
            """,
            settings,
        )
        # The page's end sends all that is kept.
        self._browser.open("about:blank")
        ids = {name.partition("-")[2] for name in did["kept"]}
        wait_for(lambda: ids <= set(self._web.taken))
        events = self._new()
        self._seen.update(event["id"] for event in events)
        return did | {"events": events}

    def _new(self) -> list[dict[str, Any]]:
        """The events since the last call, each once: the browser may send a second copy, of earlier pages too."""
        new = {event["id"]: event for event in self._web.events if event["id"] not in self._seen}
        return list(new.values())


SAMPLE = (
    "service.sendTrackingLogEvent('test.event', {testShallow: 'test-shallow', testObject: {testDeep: 'test-deep'}})"
)


@pytest.mark.parametrize("config", [BY_CLIENT, OF_BASE, {}], ids=["frontend-platform", "frontend-base", "no-key"])
def test_a_tracking_log_event_is_posted_as_before(micro: Micro, config: dict[str, str]) -> None:
    did = micro.call(f"return {SAMPLE}.then(() => [config.LMS_BASE_URL, location.href])", **config)
    base, page = did["result"]
    quoted = page.replace(":", "%3A").replace("/", "%2F")
    event = (
        "%7B%22test_shallow%22%3A%22test-shallow%22%2C%22test_object%22%3A%7B%22test_deep%22%3A%22test-deep%22%7D%7D"
    )
    assert did["posted"] == [
        [
            f"{base}/event",
            f"event_type=test.event&event={event}&page={quoted}",
            {"headers": {"Content-Type": "application/x-www-form-urlencoded"}},
        ]
    ]
    assert (did["logged"], did["events"]) == ([], [])


def test_a_post_that_fails_is_logged(micro: Micro) -> None:
    did = micro.call(f"return {SAMPLE}.then(() => 'resolved')", **BY_CLIENT, fails="test-error")
    assert (did["logged"], did["result"]) == (["test-error"], "resolved")


def test_a_tracking_log_event_is_kept_by_tracker(micro: Micro) -> None:
    keys = {"aBC": 1, "courseRun2": 2, "HTMLPage": 3, "x.y-z": 4, "_id": 5, "1stTry": 6, "don't": 7, "étéFini": 8}
    nested = "{list: [{deepKey: new Date(0)}], same: null}"
    did = micro.call(f"return service.sendTrackingLogEvent('test.event', {{...{keys!r}, ...{nested}}})", **WITH_KEY)
    (event,) = did["events"]
    assert did["result"] == event["id"]
    assert did["posted"] == []
    assert "type" not in event
    assert event["data"] == {
        "a_bc": 1,
        "course_run_2": 2,
        "html_page": 3,
        "x_y_z": 4,
        "id": 5,
        "1st_try": 6,
        "dont": 7,
        "ete_fini": 8,
        "list": [{"deep_key": "1970-01-01T00:00:00.000Z"}],
        "same": None,
    }
    # Never thrown into the page: data that has no end.
    did = micro.call("const a = {}; a.a = a; return service.sendTrackingLogEvent('odd', a).then(() => 1)", **WITH_KEY)
    assert (did["result"], len(did["logged"])) == (1, 1)


def test_a_user_is_identified(micro: Micro) -> None:
    did = micro.call("service.identifyAuthenticatedUser(99, {anything: 'Yay!'})", **WITH_KEY)
    (event,) = did["events"]
    assert (event["type"], event["name"], event["userId"], event["data"]) == (
        "identify",
        "99",
        "99",
        {"anything": "Yay!"},
    )
    assert did["isIdentified"]
    did = micro.call("service.identifyAuthenticatedUser(null)", **WITH_KEY)
    assert did["result"] == "UserId is required for identifyAuthenticatedUser."
    assert (did["events"], did["isIdentified"]) == ([], False)


def test_an_anonymous_user_stays_the_same_until_somebody_logged_out(micro: Micro) -> None:
    track = "await service.identifyAnonymousUser(); service.sendTrackEvent('seen')"
    first, second = (micro.call(track, **WITH_KEY)["events"] for _ in range(2))
    assert [event["type"] for event in [*first, *second]] == ["track"] * 2
    assert first[0]["anonymousId"] == second[0]["anonymousId"]
    micro.call("service.identifyAuthenticatedUser(7)", **WITH_KEY)
    (third,) = micro.call(track, **WITH_KEY)["events"]
    assert third["anonymousId"] != first[0]["anonymousId"]
    assert third.get("userId") is None
    (told,) = micro.call("await service.identifyAnonymousUser({plan: 'free'})", **WITH_KEY)["events"]
    assert (told["type"], told["data"], told["anonymousId"]) == ("identify", {"plan": "free"}, third["anonymousId"])


@pytest.mark.parametrize("identify", ["identifyAuthenticatedUser(1)", "identifyAnonymousUser()", ""], ids=repr)
def test_pages_and_tracks_follow_an_identify(micro: Micro, identify: str) -> None:
    did = micro.call(
        f"await service.{identify or 'config'}; service.sendPageEvent('test-category', 'test-name', {{anything: 1}});"
        "service.sendTrackEvent('test-name', {anything: 2}); service.sendPageEvent('alone')",
        **WITH_KEY,
    )
    page, track, alone = did["events"][-3:]
    assert (page["type"], page["category"], page["name"], page["data"]["anything"]) == (
        "page",
        "test-category",
        "test-name",
        1,
    )
    assert (track["type"], track["name"], track["data"]) == ("track", "test-name", {"anything": 2})
    assert (alone["name"], "category" in alone) == ("alone", False)
    assert did["logged"] == ([] if identify else [UNIDENTIFIED] * 3)


def test_without_a_key_segment_gets_nothing(micro: Micro) -> None:
    did = micro.call(
        "service.identifyAuthenticatedUser(99); await service.identifyAnonymousUser({plan: 'free'});"
        "service.sendTrackEvent('a'); service.sendPageEvent('b'); return Object.keys(localStorage)",
        TRACKER_KEY="",
    )
    assert (did["result"], did["events"], did["logged"], did["isIdentified"]) == ([], [], [], False)
