"""Logger.log and the class for micro-frontends in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import browser as chromium
from tests.support.browser import Browser
from tests.support.events_site import EventsSite
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(bool(chromium.missing()), reason=f"not installed: {chromium.missing()}")


@pytest.fixture(scope="module")
def driven() -> Iterator[Browser]:
    with Browser() as browser:
        yield browser


@pytest.fixture
def site() -> Iterator[EventsSite]:
    with EventsSite() as site:
        yield site


def test_logger_keeps_what_its_callers_rely_on(site: EventsSite, driven: Browser) -> None:
    driven.open(f"{site.url}/logger?logger=data-stage=warn%2Breport")
    heard, warnings, same = driven.run(
        """
        const heard = [], warnings = [], box = document.body;
        console.warn = (text) => warnings.push(text);
        console.error = () => {};
        Logger.listen('seen', box, (...args) => heard.push(['box', args[0], args[1], args[2] === box]));
        Logger.listen('seen', null, (...args) => heard.push(['none', args[0], args[1]]));
        Logger.listen('seen', box, () => { throw new Error('a listener of the page'); });
        window.$$course_id = 'edX/999/test';
        Logger.log('seen', 'a=1&b=2', box);
        Logger.log('seen', ['answers', '<p>'], null).done(() => heard.push(['done']));
        Logger.log('seen');
        return [heard, warnings.filter((text) => text.includes('Logger.log')), log_event === Logger.log];
        """
    )
    assert same
    assert len(warnings) == 1, "once for each name and calling script"
    assert "Tracker.emit" in warnings[0]
    assert heard == [
        ["box", "seen", "a=1&b=2", True],
        ["none", "seen", ["answers", "<p>"]],
        ["done"],
        ["none", "seen", None],
    ]
    wait_for(lambda: len(site.events) == 3)
    assert [event.get("data") for event in site.events] == ["a=1&b=2", ["answers", "<p>"], None]
    assert {event["via"] for event in site.events} == {"Logger.log"}
    assert {event["script"] for event in site.events} == {f"{site.url}/logger"}
    assert {event["context"]["courserun_key"] for event in site.events} == {"edX/999/test"}


@pytest.mark.parametrize("stage", ["off", "warn", "warn+report", "error", "removed"])
def test_each_step_of_the_deprecation_does_what_it_says(site: EventsSite, driven: Browser, stage: str) -> None:
    driven.open(f"{site.url}/logger?logger=data-help=/why%20data-stage={stage.replace('+', '%2B')}")
    if stage == "removed":
        assert driven.run("return [typeof Logger, typeof log_event]") == ["undefined", "undefined"]
        return
    warnings, errors, heard = driven.run(
        """
        const warnings = [], errors = [], heard = [];
        console.warn = (text) => warnings.push(text);
        console.error = (text) => errors.push(text);
        Logger.listen('heard', null, (name, data) => heard.push(data));
        Tracker.emit('heard', 1);
        Logger.log('heard', 2);
        Logger.log('heard', 3);
        return [warnings, errors, heard];
        """
    )
    assert heard == [1, 2, 3]
    # One for listen, and one for log; of an error each.
    assert (len(warnings), len(errors)) == {"off": (0, 0), "error": (0, 3)}.get(stage, (2, 0))
    assert all(f"{site.url}/why" in text and f"{site.url}/logger" in text for text in [*warnings, *errors])
    wait_for(lambda: len(site.events) == 3)
    told = {event["data"]: event.get("via") for event in site.events}
    assert told == {1: None, **dict.fromkeys((2, 3), "Logger.log" if stage in ("warn+report", "error") else None)}


def test_bind_sends_page_close_when_the_page_goes(site: EventsSite, driven: Browser) -> None:
    driven.open(f"{site.url}/logger")
    driven.run("Logger.bind()")
    driven.open("about:blank")
    wait_for(lambda: [event["name"] for event in site.events[:1]] == ["page_close"])


def test_the_service_for_micro_frontends_has_the_five_methods(site: EventsSite, driven: Browser) -> None:
    driven.open(f"{site.url}/module")
    wait_for(lambda: driven.run("return !!window.Service"))
    posts, errors, thrown = driven.run(
        """
        const posts = [], errors = [];
        const httpClient = {post: (...args) => (posts.push(args), Promise.resolve())};
        const loggingService = {logError: (error) => errors.push('' + error)};
        const config = {LMS_BASE_URL: '', TRACKER_KEY: 'web', TRACKER_TRANSPORT: 'httpClient'};
        const service = new Service({httpClient, loggingService, config});
        service.sendTrackEvent('Early');
        let thrown;
        try { service.identifyAuthenticatedUser(); } catch (error) { thrown = error.message; }
        service.identifyAuthenticatedUser(7, {plan: 'free'});
        service.sendPageEvent('Docs', 'Home', {x: 1});
        service.sendTrackingLogEvent('test.event', {testShallow: 1, aB: {deepKey: 2}});
        return [posts, errors, thrown];
        """
    )
    assert thrown == "UserId is required for identifyAuthenticatedUser."
    assert errors == ["Identify must be called before other tracking events."]
    [[url, body, options]] = posts
    assert url == "/event"
    assert body.startswith("event_type=test.event&event=%7B%22test_shallow%22%3A1%2C%22a_b%22%3A%7B%22deep_key%22%3A2")
    assert options["headers"]["Content-Type"] == "application/x-www-form-urlencoded"
    wait_for(lambda: [event["type"] for event in site.events] == ["track", "identify", "page"])
