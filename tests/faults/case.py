"""Case: one fault with its expectation, and the decorator that makes a case of a function."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tests.faults.expectation import Expectation
from tests.faults.stage import Stage


class NotHereError(Exception):
    """This machine lacks something that the case needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One fault.

    Args:
        name: Its name for ``--only``.
        title: What is done, for the table.
        play: Starts processes, does the damage, and repairs it.
        expected: What may come of it.
        in_tests: Whether a shorter form of it belongs to ``make test``.
        is_long: Whether it runs only if it is asked for by name.
        is_alone: Whether no other case may run beside it, since it compares times.
    """

    name: str
    title: str
    play: Callable[[Stage], None]
    expected: Expectation
    in_tests: bool = False
    is_long: bool = False
    is_alone: bool = False


Decorate = Callable[[Callable[[Stage], None]], Callable[[Stage], None]]


class Cases:
    """The cases of one kind, in order."""

    def __init__(self) -> None:
        self.all: list[Case] = []

    def add(
        self,
        title: str,
        expected: Expectation | None = None,
        *,
        in_tests: bool = False,
        is_long: bool = False,
        is_alone: bool = False,
    ) -> Decorate:
        """Make a case of a function, whose name it gets."""

        def decorate(play: Callable[[Stage], None]) -> Callable[[Stage], None]:
            self.all.append(
                Case(
                    name=play.__name__,
                    title=title,
                    play=play,
                    expected=expected or Expectation(),
                    in_tests=in_tests,
                    is_long=is_long,
                    is_alone=is_alone,
                )
            )
            return play

        return decorate
