"""What a message of Celery takes along of a context, and what a task has of it in eager mode."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery, signals

from dispatcher import tracker
from dispatcher.contrib import celery as contrib
from dispatcher.emit.context import EMPTY, current
from dispatcher.testing import Captured


@pytest.fixture
def app() -> Iterator[Celery]:
    app = Celery("shop", broker="memory://", set_as_current=False)
    contrib.install(app)
    contrib.install(app)  # twice is once

    yield app
    for signal in (signals.before_task_publish, signals.task_prerun, signals.task_postrun):
        signal.disconnect(dispatch_uid=f"dispatcher.contrib.celery {id(app)}")


def sent(app: Celery, **options: Any) -> Any:
    """The header of a message that is sent with what is bound now."""
    with app.connection_for_write() as connection:
        app.send_task("shop.count", connection=connection, **options)
        channel = connection.default_channel
        message = channel.basic_get("celery", no_ack=True)
    return message.headers.get(contrib.HEADER)


def test_listed_fields_go_along_and_nothing_else(app: Celery) -> None:
    assert sent(app) is None
    with tracker.context("request", {"user_id": 7, "course_id": "c", "token": "t", "email": "a@b.example"}):
        assert sent(app) == {"user_id": 7, "course_id": "c"}
        contrib.install(app, fields=["email"])
        assert sent(app) == {"email": "a@b.example"}
    with tracker.context("request", {"token": "t"}):
        assert sent(app) is None


def test_of_a_context_that_is_too_large_the_longest_fields_stay(app: Celery, caplog: pytest.LogCaptureFixture) -> None:
    with tracker.context("request", {"user_id": 7, "referer": "r" * 5_000, "agent": "a" * 3_000, "path": "p" * 2_000}):
        for _ in range(2):
            assert sent(app) == {"user_id": 7, "path": "p" * 2_000}
    assert [record.getMessage().partition("'")[2].partition("'")[0] for record in caplog.records] == [
        "referer",
        "agent",
    ]


class Unreadable(dict[str, object]):
    def items(self) -> Any:
        raise KeyError("a secret")


@pytest.mark.parametrize(
    "value",
    [object(), float("nan"), {"deep": [object()]}, "\ud800", Unreadable(a=object())],
    ids=["an object", "NaN", "an object inside", "half an emoji", "a dict that raises"],
)
def test_a_field_without_a_json_form_stays_alone(app: Celery, caplog: pytest.LogCaptureFixture, value: object) -> None:
    with tracker.context("request", {"user_id": 7, "session": value, "path": "/"}):
        for _ in range(2):
            assert sent(app) == {"user_id": 7, "path": "/"}
    (record,) = caplog.records
    assert f"'session' of their sender's context: a value of type {type(value).__name__}" in record.getMessage()
    assert "secret" not in caplog.text


def test_in_eager_mode_a_task_has_its_callers_context_and_leaves_it(app: Celery, emitted_events: Captured) -> None:
    @app.task(shared=False)  # type: ignore[untyped-decorator]
    def count() -> None:
        tracker.emit("shop.counted")
        tracker.enter_context("task", {"own": 1})

    with tracker.context("request", {"user_id": 7, "token": "t"}):
        count.apply()
        assert emitted_events.one("shop.counted").context == {"user_id": 7, "token": "t"}
        assert current().merged == {"user_id": 7, "token": "t"}
    assert current() is EMPTY


@pytest.mark.parametrize("other", ["shop", None, {}, Celery])
def test_what_is_not_an_app_is_refused(other: Any) -> None:
    with pytest.raises(TypeError, match="app must be the Celery app, not "):
        contrib.install(other)


def test_fields_are_a_list(app: Celery) -> None:
    with pytest.raises(TypeError, match=r'\["user_id"\]'):
        contrib.install(app, fields="user_id")
