"""Who sent a request is asked of the site's function, and no event waits for it long or is lost by it."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import pytest

from dispatcher.collector.user import UserLookup
from dispatcher.errors import SettingsError
from dispatcher.monitoring.intake import Intake
from dispatcher.request.cookies import read_cookies
from tests.support.waiting import PATIENCE, soon

Ask = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def counts() -> Intake:
    return Intake()


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, counts: Intake) -> Iterator[Ask]:
    """Ask a function several times at once. Returns the answers."""

    def ask(function: Any, times: int = 1, seconds: float = 30) -> list[dict[str, Any]]:
        module = ModuleType("site_users")
        module.user_of = function  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "site_users", module)

        async def find_all() -> list[dict[str, Any]]:
            users = UserLookup("site_users:user_of", seconds, counts)
            return await asyncio.gather(*[users.find({"cookie": f"sessionid={n}; a=b"}) for n in range(times)])

        return asyncio.run(find_all())

    return ask  # type: ignore[return-value]


def test_the_function_gets_headers_and_cookies(ask: Ask, counts: Intake) -> None:
    found = ask(lambda headers, cookies: {"user_id": int(cookies["sessionid"]), "n": len(headers)}, 5)
    assert found == [{"user_id": n, "n": 1} for n in range(5)]
    assert ask(lambda headers, cookies: None) == [{}]
    assert not counts.user_failures


def test_what_is_not_its_to_say_is_left_out(ask: Ask) -> None:
    assert ask(lambda *_: {"user_id": 7, "event_source": "server", "collector_source": "x"}) == [{"user_id": 7}]


def raise_(error: BaseException) -> Any:
    raise error


@pytest.mark.parametrize(
    "function",
    [
        lambda *_: raise_(ValueError("secret-cookie")),
        lambda *_: raise_(SystemExit(1)),
        lambda *_: "user",
        lambda *_: {"user_id": object()},
        lambda *_: {"user_id": "x" * 5000},
        lambda: None,
    ],
)
def test_its_mistakes_cost_the_user_only(
    ask: Ask, counts: Intake, function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask(function, 3) == [{}] * 3
    assert counts.user_failures == {"failed": 3}
    assert "events go on without their user" in caplog.text
    assert "secret-cookie" not in caplog.text


def test_slowness_costs_the_user_only_and_no_thread_more(ask: Ask, counts: Intake) -> None:
    ends = threading.Event()
    with soon():
        assert ask(lambda *_: ends.wait(2 * PATIENCE) and None, 20, seconds=0.05) == [{}] * 20
    assert counts.user_failures == {"slow": 8, "busy": 12}
    ends.set()


@pytest.mark.parametrize("entry", ["no_such_module:user_of", "json:no_such", "json:__doc__"])
def test_what_cannot_be_called_is_said_at_the_start(entry: str, counts: Intake) -> None:
    with pytest.raises(SettingsError, match=r"collector\.user"):
        UserLookup(entry, 1, counts)


@pytest.mark.parametrize(
    ("header", "cookies"),
    [
        ("", {}),
        ("a=1; b=2", {"a": "1", "b": "2"}),
        ('a="x=y";a=2; nothing;=;', {"a": "x=y", "": ""}),
        ("é=ü; {}[]=1", {"é": "ü", "{}[]": "1"}),
    ],
)
def test_cookies_of_any_form_are_read(header: str, cookies: dict[str, str]) -> None:
    assert read_cookies(header) == cookies
