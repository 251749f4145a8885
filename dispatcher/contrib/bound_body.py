"""Bound body: a response's body that is made after the middleware has returned, with the request's context bound."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator
from typing import Any, Generic, TypeVar

from dispatcher.emit.context import BoundContext, replace_context

_Part = TypeVar("_Part")


class BoundBody(Generic[_Part]):
    """Iterates over a body, bound for each step, and closes it. What the body binds is bound at its next step.

    Args:
        body: Anything that can be iterated over. Its own errors pass through.
        bound: The context.
    """

    def __init__(self, body: Iterable[_Part], bound: BoundContext) -> None:
        self._body = body
        self._iterator: Iterator[_Part] | None = None
        self._bound = bound

    def __iter__(self) -> Iterator[_Part]:
        return self

    def __next__(self) -> _Part:
        before = replace_context(self._bound)
        try:
            if self._iterator is None:
                self._iterator = iter(self._body)
            return next(self._iterator)
        finally:
            self._bound = replace_context(before)

    def close(self) -> None:
        """Close the body, as PEP 3333 wants it of who iterates."""
        close: Any = getattr(self._body, "close", None)
        if close is None:
            return
        before = replace_context(self._bound)
        try:
            close()
        finally:
            replace_context(before)


class AsyncBoundBody(Generic[_Part]):
    """The same of a body that is iterated over asynchronously.

    Args:
        body: Its own errors pass through.
        bound: The context.
    """

    def __init__(self, body: AsyncIterator[_Part], bound: BoundContext) -> None:
        self._body = body
        self._bound = bound

    def __aiter__(self) -> AsyncIterator[_Part]:
        return self

    async def __anext__(self) -> _Part:
        before = replace_context(self._bound)
        try:
            return await anext(self._body)
        finally:
            self._bound = replace_context(before)

    async def aclose(self) -> None:
        """Close the body, if it can be closed."""
        close: Any = getattr(self._body, "aclose", None)
        if close is None:
            return
        before = replace_context(self._bound)
        try:
            await close()
        finally:
            replace_context(before)
