"""What the views of edX's requests promise. Run by tests/integration/test_django.py."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth import get_user_model
from django.contrib.auth.models import AnonymousUser
from django.test import AsyncClient, Client, RequestFactory, TestCase, TransactionTestCase, override_settings

from dispatcher import config, tracker
from dispatcher.contrib.openedx import views
from dispatcher.contrib.openedx.urls import urlpatterns
from dispatcher.contrib.request_context import hash_session
from dispatcher.edx_log.render import renderer
from dispatcher.errors import OutboxFullError
from dispatcher.event import encode
from dispatcher.outbox import MemoryOutbox
from dispatcher.testing import capture
from tests.support.collector_app import CollectorApp
from tests.support.django_site import settings

FORM = "application/x-www-form-urlencoded"
PAGE = "https://shop.example/courses/course-v1:Org+C1+R1/courseware/week/"
HEADERS = {
    "host": "shop.example",
    "user-agent": "Browser/1",
    "referer": PAGE,
    "accept-language": "de",
    "origin": "https://shop.example",
}
MOBILE: dict[str, Any] = {
    "type": "track",
    "messageId": "m-1",
    "timestamp": "2026-01-02T03:03:24.000Z",
    "receivedAt": "2026-01-02T03:03:56.373Z",
    "context": {"library": {"name": "analytics-android"}, "userAgent": "Dalvik", "traits": {"email": "a@example.org"}},
    "properties": {
        "name": "edx.video.played",
        "data": {"module_id": "i4x://edX/DemoX/video/0b9e", "code": "mobile", "current_time": 114},
        "context": {"app_name": "edx.mobileapp.android", "course_id": "edX/DemoX/Demo_Course", "username": "somebody"},
    },
}
#: What the collector's function says of every user.
known_user: dict[str, Any] = {}


def user_of(headers: Mapping[str, str], cookies: Mapping[str, str]) -> dict[str, Any]:
    return known_user


class _Captured:
    def setUp(self) -> None:
        self.captured = self.enterContext(capture())  # type: ignore[attr-defined]
        self.ada = get_user_model().objects.create_user("ada", password="x")

    def lines(self) -> list[bytes]:
        """What the tracking log gets, without the times of the requests."""
        render = renderer("edx")
        return [without_own(render(encode(event))) for event in self.captured.events]


def without_own(line: bytes) -> bytes:
    fields = json.loads(line)
    if fields["event_source"] == "browser":
        fields.pop("time")
    fields["context"].pop("event_id", None)
    return json.dumps(fields).encode()


def collector_lines(*requests: tuple[str, str, bytes]) -> list[bytes]:
    """What the tracking log gets where the collector has these requests: method, target and body of each."""
    with TemporaryDirectory() as directory:
        options = {"mobile_secret": "hook", "user": f"{__name__}:user_of"}
        sources = {"web": {"write_key": "k", "origins": ["https://shop.example"]}}
        app = CollectorApp(Path(directory), sources, options)
        try:
            for method, target, body in requests:
                assert app.ask(method, target, body, {**HEADERS, "content-type": FORM}).status == 200
            render = renderer("edx")
            return [without_own(render(json.dumps(event).encode())) for event in app.events()]
        finally:
            app.close()


class Pages(_Captured, TestCase):
    def test_a_page_is_answered_as_by_the_platform(self) -> None:
        fields = {"event_type": "seq_goto", "event": '{"old": 1}', "page": PAGE}
        for answer in (
            self.client.get("/event", fields),
            self.client.post("/event", urlencode(fields), FORM),
            self.client.post("/event", fields),  # a form with boundaries
            self.client.post("/event", fields, content_type="application/json"),
        ):
            assert (answer.status_code, answer.content) == (200, b"success")
            assert answer.headers["Content-Type"].startswith("text/html")
        assert [event.data for event in self.captured.named("seq_goto")] == [{"old": 1}] * 4
        assert self.client.put("/event").status_code == 405

    def test_the_line_is_the_collectors(self) -> None:
        long = "x" * 3_000
        forms = [
            urlencode(fields).encode()
            for fields in (
                {"event_type": "seq_goto", "event": '{"old": 1, "id": "é"}', "page": PAGE},
                {"event_type": "play_video", "event": "not=json", "page": PAGE, "courserun_key": "edX/999/test"},
                {"event_type": "a", "event": '["b", 5]', "page": "https://shop.example/"},
                {"event": f'"{long}"'},
                {},
            )
        ]
        self.client.force_login(self.ada)
        key = self.client.session.session_key
        user = {"user_id": self.ada.pk, "username": "ada", "session": hash_session(key, settings.SECRET_KEY)}
        for client, user_fields in ((self.client, user), (Client(), {})):
            self.captured.clear()
            known_user.clear()
            known_user.update(user_fields)
            requests = [("POST", "/event", form) for form in forms]
            requests.append(("GET", "/event?event_type=page_close&event=&page=" + PAGE, b""))
            for method, target, body in requests:
                client.generic(method, target, body, FORM, headers=HEADERS, REMOTE_ADDR="192.0.2.7")
            assert self.lines() == collector_lines(*requests)
            assert len(self.captured.events) == len(requests)

    def test_the_user_is_known_without_the_middleware_too(self) -> None:
        request = RequestFactory().get("/event", {"event_type": "a"})
        request.user = self.ada
        assert urlpatterns[0].callback(request).content == b"success"
        request.user = AnonymousUser()
        urlpatterns[0].callback(request)
        first, second = self.captured.named("a")
        assert first.context["username"] == "ada"
        assert first.context["ip"] == "127.0.0.1"
        assert "user_id" not in second.context

    def test_what_was_bound_before_is_in_it(self) -> None:
        request = RequestFactory().get("/event", {"event_type": "a"})
        with tracker.context("site", {"tenant": "t", "ip": "192.0.2.1"}):
            views.page_event(request)
        context = self.captured.one("a").context
        assert (context["tenant"], context["ip"], context["event_source"]) == ("t", "192.0.2.1", "browser")

    def test_a_token_against_forgery_is_needed_as_for_every_view(self) -> None:
        assert Client(enforce_csrf_checks=True).post("/event", {"event_type": "a"}).status_code == 403

    def test_odd_requests_harm_nothing(self) -> None:
        many = urlencode({f"f{n}": "" for n in range(200)})
        assert self.client.post("/event", many, FORM).status_code == 400
        bodies = (b"\xff\xfe=\x00", b"{broken", b"[" * 100_000, b"{" * 100_000, "event_type=" + "x" * 300)
        for body in bodies:
            with self.subTest(body=body[:20]):
                assert self.client.post("/event", body, FORM).content == b"success"

    def test_a_full_outbox_is_said_so_that_it_comes_again(self) -> None:
        class Full(MemoryOutbox):
            def append(self, payload: bytes) -> None:
                raise OutboxFullError("full")

        before = tracker.set_tracker(tracker.Tracker(outbox=Full(limit=1)))
        try:
            answer = self.client.get("/event", {"event_type": "a"})
        finally:
            tracker.set_tracker(before)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


class Mobiles(_Captured, TestCase):
    def send(self, call: Any, key: str = "hook", **extra: Any) -> Any:
        return self.client.post(f"/segmentio/event?key={key}", call, content_type="application/json", **extra)

    def test_the_line_is_the_collectors_with_the_users_name(self) -> None:
        call = {**MOBILE, "userId": str(self.ada.pk)}
        answer = Client(enforce_csrf_checks=True).post(
            "/segmentio/event?key=hook", call, content_type="application/json", headers=HEADERS
        )
        assert (answer.status_code, answer.content) == (200, b"")
        (line,) = self.lines()
        (wanted,) = collector_lines(("POST", "/segmentio/event?key=hook", json.dumps(call).encode()))
        assert line.replace(b'"username": "ada"', b'"username": ""') == wanted
        assert b'"username": "ada"' in line
        assert self.captured.events[0].id == "mobile-m-1"

    def test_what_the_platform_drops_is_dropped_in_silence(self) -> None:
        for change in ({"userId": "99999"}, {"userId": "1" * 40}, {"userId": None}, {"type": "identify"}):
            with self.subTest(change=change):
                answer = self.send({**MOBILE, "userId": str(self.ada.pk), **change})
                assert (answer.status_code, answer.content) == (200, b"")
        assert self.captured.events == []

    def test_without_the_key_nothing_is_taken(self) -> None:
        call = {**MOBILE, "userId": str(self.ada.pk)}
        assert self.send(call, "wrong").status_code == 401
        assert self.client.post("/segmentio/event", call, content_type="application/json").status_code == 401
        assert self.client.get("/segmentio/event?key=hook").status_code == 405
        assert self.client.post("/segmentio/event?key=hook", "{", content_type="application/json").status_code == 400
        with override_settings(DISPATCHER={"SETTINGS": {"outbox": {"storage": "memory"}}}):
            assert self.send(call).status_code == 401
            assert self.send(call, "").status_code == 401
        assert self.captured.events == []

    def test_the_key_may_come_from_settings_given_in_code(self) -> None:
        given = config.load(overrides={"collector": {"mobile_secret": "code"}, "outbox": {"storage": "memory"}})
        before = tracker.set_tracker(tracker.Tracker(given))
        try:
            assert self.send(MOBILE, "code").status_code == 200
            assert self.send(MOBILE, "hook").status_code == 401
        finally:
            tracker.set_tracker(before)

    def test_the_request_itself_has_no_event(self) -> None:
        with override_settings(DISPATCHER={**settings.DISPATCHER, "REQUEST_EVENTS": True}):
            Client().post("/segmentio/event?key=hook", {}, content_type="application/json")
        assert self.captured.events == []


class AsyncPages(_Captured, TransactionTestCase):
    async def test_pages_and_apps_are_answered_in_an_event_loop(self) -> None:
        client = AsyncClient()
        await client.aforce_login(self.ada)
        answer = await client.post("/event", {"event_type": "a", "page": PAGE})
        assert answer.content == b"success"
        assert self.captured.one("a").context["user_id"] == self.ada.pk
        call = {**MOBILE, "userId": str(self.ada.pk)}
        answer = await client.post("/segmentio/event?key=hook", call, content_type="application/json")
        assert answer.status_code == 200
        assert self.captured.one("edx.video.played").context["username"] == "ada"
