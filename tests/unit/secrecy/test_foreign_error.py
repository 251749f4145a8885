"""An error of somebody else's code is described by its type and place; nothing that it quotes is."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from dispatcher.secrecy.foreign_error import describe_error, describe_traceback

HUSH = "hush"


class QuotingError(Exception):
    """Its text, repr, arguments and attributes hold a value."""

    def __repr__(self) -> str:
        return HUSH

    __str__ = __repr__


def chained() -> None:
    try:
        {}[HUSH]
    except KeyError as error:
        raise QuotingError(HUSH) from error


def noted() -> None:
    error = QuotingError(HUSH)
    error.add_note(HUSH)
    raise error


def looped() -> None:
    error = QuotingError(HUSH)
    error.__cause__ = error
    raise error


def named() -> None:
    raise type(f"\x1b[31m{'x' * 500}", (Exception,), {})(HUSH)


def connection() -> None:
    # As requests' errors are, which are OSErrors.
    raise OSError(f"https://h/?key={HUSH}")


@pytest.mark.parametrize("code", [chained, noted, looped, named, connection], ids=lambda code: code.__name__)
def test_an_error_is_described_without_what_it_quotes(code: Callable[[], None]) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011 - any of them
        code()

    for text in (describe_error(caught.value), describe_traceback(caught.value)):
        assert HUSH not in text
        assert "\x1b" not in text
        assert (
            f"secrecy/test_foreign_error.py:{code.__code__.co_firstlineno + code.__code__.co_code[0] * 0}"[:30] in text
        )
        assert code.__name__ in text


def test_what_the_operating_system_says_is_shown() -> None:
    error = OSError(errno.ENOSPC, f"text {HUSH}", f"/tmp/{HUSH}")

    assert describe_error(error) == "OSError (No space left on device)"


def test_the_causes_are_named() -> None:
    with pytest.raises(QuotingError) as caught:
        chained()

    assert describe_error(caught.value).startswith(
        "QuotingError after KeyError, raised in secrecy/test_foreign_error.py:"
    )


def test_an_error_that_is_being_handled_further_up_is_no_cause() -> None:
    def work() -> str:
        try:
            chained()
        except QuotingError as error:
            return describe_error(error)
        return ""

    try:
        raise BlockingIOError(11, "a loop waits")
    except BlockingIOError:
        described = work()

    assert described.startswith("QuotingError after KeyError, raised in "), described
