"""``context.wrap``: what is bound here is bound there too, in threads, executors and coroutines."""

from __future__ import annotations

import asyncio
import functools
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from dispatcher import context, tracker
from dispatcher.emit.context import EMPTY, current


def look(n: int = 0) -> tuple[int, object]:
    return n, tracker.get_tracker().resolve_context().get("user")


def test_without_it_a_thread_has_no_context_and_with_it_one() -> None:
    with ThreadPoolExecutor(4) as pool, tracker.context("request", {"user": 7}):
        assert list(pool.map(look, range(50))) == [(n, None) for n in range(50)]
        assert list(pool.map(context.wrap(look), range(50))) == [(n, 7) for n in range(50)]


def test_the_context_is_that_of_the_wrapping_and_not_of_the_call() -> None:
    with tracker.context("request", {"user": 7}):
        wrapped = context.wrap(look)
    assert wrapped(3) == (3, 7)
    with tracker.context("request", {"user": 8}):
        assert wrapped(n=4) == (4, 7)
        assert look()[1] == 8


def test_what_the_function_binds_or_raises_leaves_nothing() -> None:
    def fail() -> None:
        tracker.enter_context("more", {"a": 1})
        raise KeyError("x")

    with pytest.raises(KeyError):
        context.wrap(fail)()
    assert current() is EMPTY


def test_a_coroutine_function_stays_one() -> None:
    async def alook(n: int) -> tuple[int, object]:
        await asyncio.sleep(0)
        return look(n)

    async def play() -> list[tuple[int, object]]:
        with tracker.context("request", {"user": 7}):
            wrapped = context.wrap(alook)
        return await asyncio.gather(*[wrapped(n) for n in range(3)])

    assert asyncio.run(play()) == [(n, 7) for n in range(3)]


@pytest.mark.parametrize(
    "function", [functools.partial(look, 5), [].append, threading.Event().set], ids=["partial", "builtin", "method"]
)
def test_anything_that_can_be_called_can_be_wrapped(function: object) -> None:
    context.wrap(function)  # type: ignore[arg-type]


def test_a_wrapped_function_calls_another_one_and_itself() -> None:
    def count(n: int) -> int:
        return n and 1 + wrapped(n - 1)

    with tracker.context("request", {"user": 7}):
        wrapped = context.wrap(count)
    assert wrapped(20) == 20
