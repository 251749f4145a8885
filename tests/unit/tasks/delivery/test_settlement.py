"""What is recorded of a batch: each event's outcome, attempts, due times, and the result for the breaker."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dispatcher.config import DestinationSettings
from dispatcher.outcomes import DELIVERED, Dead, Filtered, Outcome, RetryAfter
from dispatcher.store.claim import Claim
from dispatcher.store.settlement import Settlement
from dispatcher.tasks.delivery.settlement import settlements_of

NOW = 2_000_000.0
TRANSIENT = RetryAfter("503")
THROTTLED = RetryAfter("429", 30, "throttled")
SETUP = RetryAfter("401", None, "setup")
RATE_LIMITED = RetryAfter("others are first", 40, "rate_limited")
REFUSED = Dead("invalid", "answered 400")
UNSENT = Dead("invalid", "has no client id", asked=False)
UNANSWERED = Dead("unanswered", "gave no answer", whole=True, retry_class="transient")


def settings(**retry: object) -> DestinationSettings:
    return DestinationSettings.model_validate({"type": "segment", "retry": retry})


def settle(
    *outcomes: Outcome, attempts: int = 0, age: float = 0, table: DestinationSettings | None = None
) -> Settlement:
    claim = Claim(
        destination="segment",
        batch_id="7-a-0",
        token="me",
        payloads=tuple(b"%d" % number for number in range(len(outcomes))),
        attempts=attempts,
        maybe_delivered=False,
        put_ms=int((NOW - age) * 1000),
        claimed_ms=int(NOW * 1000),
    )
    return settlements_of([claim], [outcomes], settings=table or settings(), now=NOW)[0]


def test_each_event_is_counted_by_its_own_outcome() -> None:
    found = settle(DELIVERED, Dead("invalid", "no"), Filtered("consent"), TRANSIENT, DELIVERED)
    assert (found.delivered, dict(found.filtered), list(found.left)) == (2, {"consent": 1}, [b"3"])
    assert [(letter.reason, letter.payload) for letter in found.dead] == [("invalid", b"1")]


@pytest.mark.parametrize(
    ("outcomes", "result", "burns"),
    [
        ([DELIVERED], "ok", False),
        ([Dead("invalid", "no")], "ok", False),
        ([TRANSIENT], "transient", True),
        ([DELIVERED, TRANSIENT], "ok", True),
        ([THROTTLED], "throttled", False),
        ([DELIVERED, THROTTLED], "throttled", False),
        ([SETUP], "setup", False),
        ([TRANSIENT, SETUP, THROTTLED], "setup", True),
        ([RATE_LIMITED], "", False),
        ([RATE_LIMITED, TRANSIENT], "transient", True),
        ([RATE_LIMITED, THROTTLED], "throttled", False),
        ([RATE_LIMITED, DELIVERED], "ok", False),
        ([RATE_LIMITED, REFUSED], "ok", False),
        ([Filtered("consent"), UNSENT], "", False),
        ([UNANSWERED], "transient", True),
        ([UNANSWERED, DELIVERED], "ok", True),
    ],
)
def test_only_transient_failures_use_an_attempt_and_the_gravest_is_signalled(
    outcomes: Sequence[Outcome], result: str, burns: bool
) -> None:
    found = settle(*outcomes)
    assert (found.signal.result, found.burns_attempt) == (result, burns)


def test_the_pause_is_at_least_as_long_as_the_destination_asked() -> None:
    assert settle(THROTTLED).due_ms >= int((NOW + 30) * 1000)
    assert settle(THROTTLED).signal.asked_seconds == 30


def test_an_event_that_fails_at_its_maximum_age_is_dead_with_that_age() -> None:
    table = settings(max_age_seconds=3600)
    assert settle(TRANSIENT, age=3599, table=table).left
    found = settle(DELIVERED, TRANSIENT, age=7200, attempts=9, table=table)
    assert found.delivered == 1
    assert not found.left
    [letter] = found.dead
    assert (letter.reason, letter.error) == ("expired", "tried 10 times in 2.0 hours and still: 503")


def test_a_rate_limited_event_has_no_error_and_is_due_with_its_permit() -> None:
    found = settle(DELIVERED, RATE_LIMITED)
    assert (found.error, found.waits_for) == ("", "others are first")
    assert found.due_ms >= int((NOW + 40) * 1000)
    mixed = settle(RATE_LIMITED, RetryAfter("503", 2))
    assert (mixed.error, mixed.waits_for) == ("503", "others are first")
    # The breaker hears only what the destination asked for.
    assert mixed.signal.asked_seconds == 2


def test_a_rate_limited_event_was_not_tried_and_is_never_too_old() -> None:
    found = settle(RATE_LIMITED, TRANSIENT, age=7200, table=settings(max_age_seconds=3600))
    assert list(found.left) == [b"0"]
    assert [letter.payload for letter in found.dead] == [b"1"]


def test_the_tracking_log_never_gives_up() -> None:
    table = DestinationSettings.model_validate({"type": "tracking_log", "retry": {"first_seconds": 2}})
    assert table.retry.max_age_seconds == "never"
    assert settle(TRANSIENT, age=1e9, table=table).left


def test_values_of_events_are_masked_in_what_others_say_of_them() -> None:
    payload = (
        b'{"id":"i","type":"event","name":"a.b","timestamp":"2026-11-23T00:00:00Z",'
        b'"data":{"who":"Ada Lovelace"},"context":{"user_id":"u-4711"}}'
    )
    claim = Claim(
        destination="crm",
        batch_id="7-a-0",
        token="me",
        payloads=(payload, payload),
        attempts=0,
        maybe_delivered=False,
        put_ms=int(NOW * 1000),
        claimed_ms=int(NOW * 1000),
    )
    outcomes = [RetryAfter("u-4711 is unknown"), Dead("invalid", "no", answer="who: Ada Lovelace is too long")]

    (ours,) = settlements_of([claim], [outcomes], settings=settings(), now=NOW)
    (foreign,) = settlements_of([claim], [outcomes], settings=settings(), now=NOW, is_foreign=True)

    # Our own errors quote nothing; a vendor's words may, wherever they come from.
    assert ours.error == "u-4711 is unknown"
    assert foreign.error == "*** is unknown"
    assert [one.dead[0].answer for one in (ours, foreign)] == ["who: *** is too long"] * 2


def several(*outcomes: Outcome) -> list[Settlement]:
    """The settlements of batches of one event each, which were delivered together."""
    claims = [
        Claim(
            destination="segment",
            batch_id=f"7-a-{number}",
            token="me",
            payloads=(b"{}",),
            attempts=number,
            maybe_delivered=False,
            put_ms=int(NOW * 1000),
            claimed_ms=int(NOW * 1000),
        )
        for number in range(len(outcomes))
    ]
    return settlements_of(claims, [[outcome] for outcome in outcomes], settings=settings(), now=NOW)


def test_batches_that_were_delivered_together_tell_the_breaker_once() -> None:
    found = several(THROTTLED, DELIVERED, DELIVERED)
    assert [one.signal.result for one in found] == ["", "", "throttled"]
    assert found[-1].signal.asked_seconds == 30
    assert (found[-1].error, found[-1].breaker_error) == ("", "429")
    assert [(one.delivered, len(one.left)) for one in found] == [(0, 1), (1, 0), (1, 0)]


def test_one_batch_that_was_taken_says_that_the_destination_works() -> None:
    assert [one.signal.result for one in several(DELIVERED, TRANSIENT)] == ["", "ok"]
    assert [one.signal.result for one in several(TRANSIENT, TRANSIENT)] == ["", "transient"]
    assert [one.burns_attempt for one in several(TRANSIENT, RATE_LIMITED)] == [True, False]
