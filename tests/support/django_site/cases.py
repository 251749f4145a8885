"""What the app and the middleware promise. Run by tests/integration/test_django.py."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.http import FileResponse
from django.test import AsyncClient, Client, RequestFactory, TestCase, TransactionTestCase, override_settings
from django.utils.translation import gettext_lazy

from dispatcher import NotEncodableError, tracker
from dispatcher.contrib.django import RequestContextMiddleware, emit_on_commit
from dispatcher.contrib.django.collector_user import user_of
from dispatcher.contrib.request_context import hash_session
from dispatcher.emit.context import EMPTY, current
from dispatcher.testing import capture
from tests.support.django_site import views

FORM = "application/x-www-form-urlencoded"
KEYS = [
    *("session", "user_id", "username", "ip", "host", "agent", "path", "referer", "accept_language"),
    *("client_id", "course_id", "org_id"),
]


class OwnSessionMiddleware(SessionMiddleware): ...


class OwnAuthenticationMiddleware(AuthenticationMiddleware): ...


class OwnRequestContextMiddleware(RequestContextMiddleware): ...


class _Captured:
    def setUp(self) -> None:
        self.captured = self.enterContext(capture())  # type: ignore[attr-defined]
        self.ada = get_user_model().objects.create_user("ada", password="x")

    def context(self, name: str = "shop.seen") -> dict[str, Any]:
        return self.captured.one(name).context


class Requests(_Captured, TestCase):
    def test_a_visitor_has_a_context_and_leaves_none(self) -> None:
        headers = {
            "user-agent": "curl",
            "referer": "https://a.example/",
            "accept-language": "de",
            "host": "shop.example",
        }
        self.client.cookies["_ga"] = "GA1.2.1033501218.1368477899"
        response = self.client.get("/show", headers=headers)
        context = self.context()
        assert list(context) == KEYS
        assert context == (
            dict.fromkeys(KEYS, "")
            | {"ip": "127.0.0.1", "host": "shop.example", "agent": "curl", "path": "/show"}
            | {"referer": "https://a.example/", "accept_language": "de", "client_id": "1033501218.1368477899"}
        )
        assert "Vary" not in response.headers
        assert current() is EMPTY

    def test_a_user_is_bound_by_id_and_name_and_the_session_by_its_hash(self) -> None:
        self.client.force_login(self.ada)
        with self.assertNumQueries(2):  # the session, the user
            self.client.get("/look")
        key = self.client.session.session_key
        context = self.context()
        assert (context["user_id"], context["username"]) == (self.ada.pk, "ada")
        assert context["session"] == hash_session(key, settings.SECRET_KEY)
        assert key not in json.dumps(context)

    def test_caches_are_told_of_the_cookie_only_where_a_view_looks(self) -> None:
        self.client.force_login(self.ada)
        assert "Vary" not in self.client.get("/show").headers
        assert self.client.get("/look").headers["Vary"] == "Cookie"

    def test_who_signs_in_or_out_is_bound_from_then_on(self) -> None:
        self.client.get("/sign-in")
        users = [self.context(f"shop.{step}")["user_id"] for step in ("in", "out", "bound")]
        assert users == [self.ada.pk, "", self.ada.pk]

    def test_a_view_that_raises_leaves_nothing_bound(self) -> None:
        with self.assertRaisesMessage(RuntimeError, "of the view"):
            self.client.get("/fail")
        assert self.context()["path"] == "/fail"
        assert current() is EMPTY

    def test_what_was_bound_before_is_bound_again(self) -> None:
        with tracker.context("outside", {"a": 1}):
            self.client.get("/show")
            assert self.context()["a"] == 1
            assert tracker.get_tracker().resolve_context() == {"a": 1}

    def test_a_stream_has_the_context_and_what_it_binds_itself(self) -> None:
        assert self.client.get("/stream").getvalue() == b"ok"
        assert self.context("shop.first")["path"] == "/stream"
        assert self.context("shop.second")["part"] == 2
        assert current() is EMPTY

    def test_a_file_stays_one_for_the_server_to_send(self) -> None:
        # The test client would read it.
        response = RequestContextMiddleware(views.file)(RequestFactory().get("/file"))
        assert type(response) is FileResponse
        assert response.file_to_stream.name == views.__file__
        response.close()

    def test_a_host_that_is_not_allowed_is_not_in_the_event(self) -> None:
        self.client.get("/show", headers={"host": "evil.example"})
        assert self.context()["host"] == ""

    def test_only_a_listed_proxy_says_the_address(self) -> None:
        forwarded = {"x-forwarded-for": "192.0.2.9, 10.0.0.2"}
        for proxies, address in (((), "127.0.0.1"), (("127.0.0.1", "10.0.0.0/8"), "192.0.2.9")):
            with self.subTest(proxies=proxies), override_settings(DISPATCHER={"PROXIES": proxies}):
                self.captured.clear()
                Client().get("/show", headers=forwarded)
                assert self.context()["ip"] == address

    @override_settings(DISPATCHER={"CONTEXT": "tests.support.django_site.settings.context_of"})
    def test_the_hook_says_more_and_its_mistakes_cost_no_request(self) -> None:
        client = Client()
        client.get("/show")
        assert self.context()["course_id"] == "course-v1:a+b+c"
        self.captured.clear()
        with self.assertLogs("dispatcher", "WARNING") as logs:
            for _ in range(3):
                assert client.get("/show?hook=raises").status_code == 200
        assert len(logs.output) == 1
        assert "of the site" not in logs.output[0]
        assert len(self.captured.events) == 3

    def test_lazy_text_is_text(self) -> None:
        tracker.emit("shop.text", {"title": gettext_lazy("Basket")})
        assert self.captured.one("shop.text").data == {"title": "Basket"}

    def test_a_model_and_a_queryset_say_what_to_pass(self) -> None:
        users = get_user_model().objects
        for value, remedy in ((self.ada, "pass its pk"), (users.all(), "values_list"), (users, "a count")):
            with pytest.raises(NotEncodableError, match=remedy) as raised:
                tracker.emit("shop.odd", {"who": value})
            assert self.ada.username not in str(raised.value)


class AsyncRequests(_Captured, TransactionTestCase):
    async def test_a_user_is_bound_in_an_event_loop_too(self) -> None:
        client = AsyncClient()
        await client.aforce_login(self.ada)
        response = await client.get("/async/look")
        assert self.context()["user_id"] == self.ada.pk
        assert response.headers["Vary"] == "Cookie"
        self.captured.clear()
        assert "Vary" not in (await client.get("/async/show")).headers
        assert self.context()["user_id"] == self.ada.pk
        self.captured.clear()
        assert (await client.get("/look")).headers["Vary"] == "Cookie"
        assert self.context()["user_id"] == self.ada.pk

    async def test_who_signs_in_or_out_is_bound_from_then_on(self) -> None:
        await AsyncClient().get("/async/sign-in")
        users = [self.context(f"shop.{step}")["user_id"] for step in ("in", "out", "bound")]
        assert users == [self.ada.pk, "", self.ada.pk]

    async def test_a_stream_has_the_context_and_what_it_binds_itself(self) -> None:
        response = await AsyncClient().get("/async/stream")
        assert b"".join([part async for part in response.streaming_content]) == b"ok"
        assert self.context("shop.first")["path"] == "/async/stream"
        assert self.context("shop.second")["part"] == 2
        assert current() is EMPTY

    async def test_a_view_that_raises_leaves_nothing_bound(self) -> None:
        with self.assertRaisesMessage(RuntimeError, "of the view"):
            await AsyncClient().get("/async/fail")
        assert current() is EMPTY

    @override_settings(DISPATCHER={"CONTEXT": "tests.support.django_site.settings.context_in_loop"})
    async def test_a_coroutine_function_can_be_the_hook(self) -> None:
        client = AsyncClient()
        await client.get("/async/show")
        assert self.context()["org_id"] == "a"
        with self.assertLogs("dispatcher", "WARNING"):
            assert (await client.get("/async/show?hook=raises")).status_code == 200


class Commits(_Captured, TransactionTestCase):
    def test_an_event_waits_for_the_commit_with_the_context_and_data_of_the_call(self) -> None:
        self.client.get("/pay")
        assert self.captured.names == ["shop.before", "shop.paid"]
        paid = self.captured.one("shop.paid")
        assert paid.data == {"lines": [1]}
        assert paid.context["path"] == "/pay"
        assert paid.timestamp < self.captured.one("shop.before").timestamp

    def test_a_rollback_takes_the_event_along(self) -> None:
        self.client.get("/pay?broken=1")
        assert self.captured.names == ["shop.before"]

    def test_without_a_transaction_it_is_emitted_at_once(self) -> None:
        emit_on_commit("shop.paid")
        assert self.captured.one("shop.paid").data == {}


class RequestEvents(_Captured, TestCase):
    def events(self, configuration: dict[str, Any], *args: Any, **kwargs: Any) -> list[Any]:
        with override_settings(DISPATCHER={"REQUEST_EVENTS": True, **configuration}):
            self.answered = getattr(Client(), kwargs.pop("method", "get"))(*args, **kwargs)
        return [event for event in self.captured.events if event.name != "shop.seen"]

    def test_a_form_is_in_it_with_its_secrets_masked(self) -> None:
        form = {"password": "p", "newpassword": "p", "old_password": "p", "new_password1": "p", "q": ["1", "2"]}
        body = urlencode(form, doseq=True)
        (event,) = self.events({}, "/show?a=1&a=2&token=t", body, method="post", content_type=FORM)
        assert event.name == "/show"
        assert event.data["GET"] == {"a": ["1", "2"], "token": ["********"]}
        assert event.data["POST"] == {**{key: ["********"] for key in form if key != "q"}, "q": ["1", "2"]}
        assert event.context["path"] == "/show"

    def test_the_body_is_left_to_the_view(self) -> None:
        (event,) = self.events({}, "/show", '{"a": 1}', method="post", content_type="application/json")
        assert event.data["POST"] == {}
        assert self.captured.one("shop.seen").data == {"body": '{"a": 1}'}

    def test_a_long_request_is_valid_and_short(self) -> None:
        query = "&".join(f"k{n}={'v' * 3000}" for n in range(300))
        (event,) = self.events({}, f"/show?{query}")
        assert {len(value) for (value,) in event.data["GET"].values()} == {1000}
        assert len(event.data["GET"]) == 200

    def test_ignored_paths_have_none(self) -> None:
        assert self.events({}, "/heartbeat") == []
        assert self.events({"IGNORE_PATHS": ["^/sh"]}, "/show") == []

    def test_a_path_of_odd_characters_is_a_name(self) -> None:
        (event,) = self.events({}, "/%00%0a" + "x" * 300)
        assert event.name == ("/??" + "x" * 300)[:255]


class Checks(TestCase):
    def found(self, **changed: Any) -> list[tuple[str, str, str]]:
        with override_settings(**changed):
            return [(one.id, one.msg, one.hint) for one in checks.run_checks(tags=["dispatcher"])]

    def test_nothing_is_wrong_with_this_project(self) -> None:
        assert self.found() == []

    def test_each_mistake_is_named_with_the_way_out(self) -> None:
        for given, wanted_id, words in (
            ([], "dispatcher.E001", "must be a dict, not list"),
            ({"PROXYS": ["10.0.0.1"]}, "dispatcher.E002", "'PROXYS'"),
            ({"broker_url": "redis://x"}, "dispatcher.E002", "'broker_url'"),
            ({"OUTBOX__DIRECTORY": "/x"}, "dispatcher.E002", "'OUTBOX__DIRECTORY'"),
            ({"PROXIES": "10.0.0.1"}, "dispatcher.E003", "list of networks"),
            ({"PROXIES": ["nonsense"]}, "dispatcher.E003", "nonsense"),
            ({"CONTEXT": "shop.nowhere.f"}, "dispatcher.E003", "No module named 'shop'"),
            ({"CONTEXT": 7}, "dispatcher.E003", "int cannot be called"),
            ({"CONTEXT": lambda: {"a": 1}}, "dispatcher.E003", "one argument, the request"),
            ({"REQUEST_EVENTS": "yes"}, "dispatcher.E003", "True or False, not str"),
            ({"IGNORE_PATHS": ["("]}, "dispatcher.E003", "cannot be compiled"),
            ({"IGNORE_PATHS": "^/x"}, "dispatcher.E003", "list of regular expressions"),
            ({"SETTINGS": []}, "dispatcher.E003", "must be a dict, not list"),
            ({"SETTINGS": {"brokr_url": "redis://x"}}, "dispatcher.E004", "brokr_url"),
        ):
            with self.subTest(given=given):
                (found,) = self.found(DISPATCHER=given)
                assert found[0] == wanted_id
                assert words in found[1]
                assert found[2]
                if wanted_id != "dispatcher.E004":
                    with override_settings(DISPATCHER=given), self.assertRaisesMessage(ImproperlyConfigured, words):
                        RequestContextMiddleware(lambda request: None)

    def test_the_middleware_has_its_place(self) -> None:
        without = [name for name in settings.MIDDLEWARE if "dispatcher" not in name]
        assert [one[0] for one in self.found(MIDDLEWARE=without)] == ["dispatcher.W001"]
        first = sorted(settings.MIDDLEWARE, key=lambda name: "dispatcher" not in name)
        assert [one[0] for one in self.found(MIDDLEWARE=first)] == ["dispatcher.W002"] * 2

    def test_a_class_made_from_the_middleware_counts_as_it(self) -> None:
        own = [f"{__name__}.Own{name.rpartition('.')[2]}" for name in settings.MIDDLEWARE if "Csrf" not in name]
        assert self.found(MIDDLEWARE=own) == []
        found = self.found(MIDDLEWARE=own[::-1])
        assert [one[0] for one in found] == ["dispatcher.W002"] * 2
        assert all("OwnRequestContextMiddleware" in one[2] for one in found)

    def test_a_misspelt_middleware_is_named(self) -> None:
        (found,) = self.found(MIDDLEWARE=["dispatcher.contrib.django.RequestMiddleware"])
        assert found[0] == "dispatcher.E005"
        assert "dispatcher.contrib.django.RequestContextMiddleware" in found[2]

    def test_a_setting_where_nobody_reads_it_is_named(self) -> None:
        for name, hint in (
            ("DISPATCHER_BROKER_URL", '{"broker_url": …}'),
            ("DISPATCHER_OUTBOX__DIRECTORY", '{"outbox": …}'),
            ("DISPATCHERS", "DISPATCHER?"),
        ):
            with self.subTest(name=name):
                (found,) = self.found(**{name: "x"})
                assert found[0] == "dispatcher.W003"
                assert name in found[1]
                assert hint in found[2]
        assert self.found(DISPATCHER_OF_OUR_OWN="x") == []

    def test_the_middleware_does_not_start_without_its_app(self) -> None:
        installed = ["dispatcher", *(name for name in settings.INSTALLED_APPS if "dispatcher" not in name)]
        with override_settings(INSTALLED_APPS=installed), self.assertRaisesMessage(ImproperlyConfigured, "needs its"):
            RequestContextMiddleware(lambda request: None)


class CollectorUsers(_Captured, TestCase):
    def test_the_collector_knows_a_session_of_the_site(self) -> None:
        self.client.force_login(self.ada)
        key = self.client.session.session_key
        known = {"user_id": self.ada.pk, "username": "ada", "session": hash_session(key, settings.SECRET_KEY)}
        for cookie in (key, f"1|{key}|salt|signature"):
            assert user_of({}, {"sessionid": cookie}) == known
        assert user_of({}, {}) is None
        stranger = user_of({}, {"sessionid": "x" * 32})
        assert stranger == {"session": hash_session("x" * 32, settings.SECRET_KEY)}
