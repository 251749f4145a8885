"""How deliveries to one destination are tried again, held back and given up: the tables inside its own."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo

from dispatcher.config.base import MIB, Count, Seconds, Table


def _at_least_first(value: float, info: ValidationInfo) -> float:
    first = info.data.get("first_seconds")
    if first is not None and value < first:
        raise ValueError(f"it must be at least first_seconds = {first}; raise max_seconds or lower first_seconds")
    return value


_MaxSeconds = Annotated[Seconds, AfterValidator(_at_least_first)]


class RetrySettings(Table):
    """The backoff of a failed delivery: a random part of first, first * factor, first * factor squared … up to max."""

    first_seconds: Seconds = Field(1.0, description="The longest pause before the second try.")
    max_seconds: _MaxSeconds = Field(300.0, validate_default=True, description="The longest pause.")
    factor: float = Field(2.0, ge=1, description="By how much each pause may be longer than the one before.")
    max_age_seconds: Seconds | Literal["never"] = Field(
        604_800.0, description='When what still fails becomes a dead letter; "never": not at all.'
    )


class BreakerSettings(Table):
    """When a destination that fails is left alone, and for how long; all workers share it."""

    failures: Count = Field(5, description="Failed tries in a row that open it; refused credentials open it at once.")
    first_seconds: Seconds = Field(5.0, description="How long it is open at first; then doubled.")
    max_seconds: _MaxSeconds = Field(60.0, validate_default=True, description="The longest that it is open.")


class DeadSettings(Table):
    """How many dead letters Redis keeps; the oldest of more go to a file under <state_directory>/dead."""

    max_bytes: Count = Field(64 * MIB, description="What they may take up in Redis.")
    max_age_seconds: Seconds | Literal["never"] = Field(
        7_776_000.0, description='How long they stay in Redis; "never": no end.'
    )


class RateSettings(Table):
    """How fast all workers together may send to a destination."""

    per_second: float | None = Field(None, gt=0, description="Requests a second. Absent: what the vendor allows.")
    burst: int | None = Field(None, ge=1, description="Requests that may go at once after a pause.")
