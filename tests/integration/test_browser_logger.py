"""Logger.log in a real Chromium, with jQuery and without: what edX's own callers and their tests rely on.

The cases are those of the platform's logger_spec.js, and what its XBlocks do with the request that is returned.
docs/how-to/deprecations.md names where ours differs on purpose.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest

from tests.support import browser as chromium
from tests.support.browser import Browser
from tests.support.events_site import EventsSite
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(bool(chromium.missing()), reason=f"not installed: {chromium.missing()}")

PACKAGES = Path(__file__).parents[1] / "peers/node_modules"
#: Open edX has jQuery 2.2; the other one is today's.
JQUERIES = ["jquery", "jquery3"]
AJAX = "logger=data-transport=ajax%20data-stage=off"


@pytest.fixture
def jquery(web: EventsSite, request: pytest.FixtureRequest) -> str:
    """The query of a page that has a jQuery."""
    if not request.param:
        return ""
    script = PACKAGES / request.param / "dist/jquery.js"
    if not script.exists():
        pytest.skip(f"{request.param} is not installed: `make peers` installs it")
    web.files["/jquery.js"] = script.read_bytes()
    return "before=/jquery.js"


def forms(web: EventsSite, method: str = "POST") -> list[dict[str, str]]:
    """The requests to /event, or below a prefix."""
    calls = [call for call in web.calls if call.path.endswith("/event") and call.method == method]
    return [dict(call.query or parse_qsl(call.text, keep_blank_values=True)) for call in calls]


def test_logger_keeps_what_its_callers_rely_on(web: EventsSite, driven: Browser) -> None:
    driven.open(f"{web.url}/logger?logger=data-stage=warn%2Breport")
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
        Logger.log('seen', ['answers', '<p>'], null);
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
        ["none", "seen", None],
    ]
    wait_for(lambda: len(web.events) == 3)
    assert [event.get("data") for event in web.events] == ["a=1&b=2", ["answers", "<p>"], None]
    assert {event["via"] for event in web.events} == {"Logger.log"}
    assert {event["script"] for event in web.events} == {f"{web.url}/logger"}
    assert {event["context"]["courserun_key"] for event in web.events} == {"edX/999/test"}


@pytest.mark.parametrize("stage", ["off", "warn", "warn+report", "error", "removed"])
def test_each_step_of_the_deprecation_does_what_it_says(web: EventsSite, driven: Browser, stage: str) -> None:
    driven.open(f"{web.url}/logger?logger=data-help=/why%20data-stage={stage.replace('+', '%2B')}")
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
    assert all(f"{web.url}/why" in text and f"{web.url}/logger" in text for text in [*warnings, *errors])
    wait_for(lambda: len(web.events) == 3)
    told = {event["data"]: event.get("via") for event in web.events}
    assert told == {1: None, **dict.fromkeys((2, 3), "Logger.log" if stage in ("warn+report", "error") else None)}


def test_bind_sends_page_close_when_the_page_goes(web: EventsSite, driven: Browser) -> None:
    driven.open(f"{web.url}/logger")
    # The old one's handler kept pages out of the back/forward cache.
    assert driven.run("Logger.bind(); Logger.bind(); return window.onunload") is None
    driven.open("about:blank")
    wait_for(lambda: web.events)
    # The browser may send a second copy of it.
    assert len({event["id"] for event in web.events}) == 1
    assert (web.events[0]["name"], web.events[0]["data"]) == ("page_close", {})


@pytest.mark.parametrize("data", ["data", ["answers", "<p>"], {"id": 1}, 5, False], ids=repr)
def test_any_data_is_sent_as_it_is(web: EventsSite, driven: Browser, data: Any) -> None:
    # The page's course is not always a property of window.
    web.files["/course.js"] = b"const $$course_id = 'edX/999/test';"
    driven.open(f"{web.url}/logger?before=/course.js&logger=data-stage=off")
    driven.run("Logger.log('example', arguments[0]); return Tracker.flush()", data)
    (event,) = web.events
    assert (event["name"], event["data"], event["page"]) == ("example", data, driven.run("return location.href"))
    assert event["context"]["courserun_key"] == "edX/999/test"
    assert "type" not in event


LISTEN = """
    const heard = [], errors = [], box = document.createElement('p'), other = document.createElement('p');
    console.error = (error) => errors.push(error);
    const hear = (mark) => (...args) => heard.push([mark, args[0], args[1], args[2] === box ? 'box' : args[2]]);
    Logger.listen('example', null, hear(0));
    Logger.listen('example', null, hear(1));
    Logger.listen('example', 'element', hear(2));
    Logger.listen('new_event', null, hear(3));
    Logger.listen('example', box, hear(4));
    Logger.listen('example', 12, hear(5));
    Logger.listen('exception', null, () => { throw new Error('a listener of the page'); });
    Logger.listen('exception', null, () => Logger.log('example', 'inner', 'element'));
    for (const element of [undefined, null, 'element', box, other, '12']) Logger.log('example', 'data', element);
    Logger.log('exception', 'data');
    return [heard, errors.length];
"""


@pytest.mark.parametrize("jquery", JQUERIES[:1], indirect=True)
@pytest.mark.parametrize("way", ["tracker", "ajax"])
def test_listeners_hear_their_element_in_order(web: EventsSite, driven: Browser, jquery: str, way: str) -> None:
    driven.open(f"{web.url}/logger?{jquery}&{AJAX if way == 'ajax' else 'logger=data-stage=off'}")
    heard, errors = driven.run(LISTEN)
    data = ["example", "data"]
    assert heard == [
        *([mark, *data, None] for mark in (0, 1, 0, 1)),
        [2, *data, "element"],
        [4, *data, "box"],
        [5, *data, "12"],
        [2, "example", "inner", "element"],
    ]
    assert errors == 1
    if way == "ajax":
        # Who listens was told first, so that what listeners log comes first too.
        wait_for(lambda: len(forms(web)) == 8)
        names = [form["event_type"] for form in forms(web)]
        assert sorted(names) == ["example"] * 7 + ["exception"]
        return
    wait_for(lambda: len(web.events) == 8)
    assert (
        driven.run(
            "Logger.listen('w', $(document.body), () => { window.wrapped = 1; });"
            "Logger.log('w', 1, $(document.body)); return window.wrapped"
        )
        == 1
    )


@pytest.mark.parametrize("jquery", ["", *JQUERIES], indirect=True)
def test_the_request_that_is_returned_has_succeeded(web: EventsSite, driven: Browser, jquery: str) -> None:
    driven.open(f"{web.url}/logger?{jquery}&logger=data-stage=off")
    told = driven.run(
        """
        const told = [], own = {};
        const tell = (mark) => function (...args) {
            told.push([mark, ...args.map((arg) => typeof arg === 'string' ? arg : arg.status), this === own]);
        };
        const options = {success: [tell('success')], error: tell('error'), complete: tell('complete'), context: own};
        const request = Logger.log('example', 'data', null, options);
        const early = told.length;
        request.done(tell('done')).fail(tell('fail')).always(tell('always'));
        Logger.log('example', 'data', null, {async: false, success: () => told.push(['at once'])});
        const later = ['abort', 'getResponseHeader', 'promise'].map((name) => typeof request[name]);
        return (async () => {
            const text = await request;
            await new Promise((resolve) => setTimeout(resolve, 20));
            if (window.$) await new Promise((resolve) => $.when(request, 1).done(resolve));
            return [told, early, text, request.state(), request.status, request.responseText, later];
        })();
        """
    )
    assert told[1:] == [0, "success", "resolved", 200, "success", ["function"] * 3]
    assert told[0][0] == ["at once"]
    good = ["success", "success", 200, True]
    assert sorted(told[0][1:]) == [
        ["always", *good],
        ["complete", 200, "success", True],
        ["done", *good],
        ["success", *good],
    ]
    assert told[0][1][0] == "success"
    wait_for(lambda: len(web.events) == 2)


def test_without_tracker_and_jquery_the_request_has_failed(web: EventsSite, driven: Browser) -> None:
    driven.open(f"{web.url}/logger?none&logger=data-stage=off")
    told, errors = driven.run(
        """
        const told = [], errors = [];
        console.error = (text) => errors.push(text);
        Logger.listen('example', null, () => told.push('heard'));
        const options = {success: () => told.push('success'), error: () => told.push('error'), async: false};
        const request = Logger.log('example', 'data', null, options);
        request.done(() => told.push('done')).fail((failed) => told.push(failed.status));
        request.then(() => told.push('then'), () => told.push('otherwise'));
        Logger.bind();
        return new Promise((resolve) => setTimeout(() => resolve([told, errors]), 20));
        """
    )
    assert told == ["heard", "error", 0, "otherwise"]
    (error,) = errors
    assert "tracker.js is not on the page" in error


@pytest.mark.parametrize("jquery", JQUERIES, indirect=True)
@pytest.mark.parametrize("query", [AJAX, "none&logger=data-stage=off"], ids=["asked", "no-tracker"])
def test_by_ajax_the_request_is_the_old_one(web: EventsSite, driven: Browser, jquery: str, query: str) -> None:
    driven.open(f"{web.url}/logger?{jquery}&{query}")
    made, same, answered = driven.run(
        """
        const made = [], real = $.ajax, spy = () => { $.ajax = (options) => (made.push(options), real(options)); };
        $.ajaxWithPrefix = (options) => (made.push(options), 'what it returned');
        const same = Logger.log('example', 'data');
        Logger.log('example', 'data', null, {type: 'GET', async: false, data: {more: 1}});
        Logger.log('example');
        window.$$course_id = 'edX/999/test';
        $.ajaxWithPrefix = undefined;
        spy();
        return new Promise((resolve) => Logger.log('real', {n: 1}).done((text, status, jqXHR) => {
            resolve([made, same, [text, status, jqXHR.status]]);
        }));
        """
    )
    page = driven.run("return location.href")
    old = {"url": "/event", "type": "POST", "async": True}
    data = {"event_type": "example", "event": '"data"', "courserun_key": None, "page": page}
    assert made == [
        {**old, "data": data},
        {**old, "type": "GET", "async": False, "data": data | {"more": 1}},
        {**old, "data": data | {"event": None}},
        {**old, "data": {"event_type": "real", "event": '{"n":1}', "courserun_key": "edX/999/test", "page": page}},
    ]
    assert same == "what it returned"
    assert answered == ["success", "success", 200]
    assert forms(web) == [made[3]["data"]]
    assert web.events == []


@pytest.mark.parametrize("jquery", JQUERIES[:1], indirect=True)
@pytest.mark.parametrize(("prefix", "path"), [("", "/event"), ("/6002x", "/6002x/event")], ids=["none", "some"])
def test_by_ajax_page_close_is_sent_when_the_page_goes(
    web: EventsSite, driven: Browser, jquery: str, prefix: str, path: str
) -> None:
    driven.open(f"{web.url}/logger?{jquery}&{AJAX}")
    driven.run(
        "$.ajaxWithPrefix = (options) => $.ajax({...options, url: arguments[0] + options.url}); Logger.bind();", prefix
    )
    page = driven.run("return location.href")
    driven.open("about:blank")
    wait_for(lambda: forms(web, "GET"))
    assert forms(web, "GET") == [{"event_type": "page_close", "event": "", "page": page}]
    assert web.calls[-1].path == path


def test_each_script_that_calls_is_warned_once_for_each_name(web: EventsSite, driven: Browser) -> None:
    web.files["/spy.js"] = b"window.told = []; console.warn = (text) => told.push(text);"
    for name in "ab":
        web.files[f"/{name}.js"] = b"for (const name of ['x', 'x', 'y']) log_event(name);"
    driven.open(f"{web.url}/logger?before=/spy.js&behind=/a.js?v=1,/b.js,/a.js?v=2")
    told = driven.run("return told")
    expected = [f'Logger.log("{name}") in {web.url}/{script}.js is deprecated.' for script in "ab" for name in "xy"]
    assert [text[: text.index("deprecated.") + 11] for text in told] == expected
    wait_for(lambda: len(web.events) == 9)
    assert {event["script"] for event in web.events} == {f"{web.url}/a.js", f"{web.url}/b.js"}
