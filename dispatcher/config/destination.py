"""The table of one destination: what every destination has, whatever its type."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, StringConstraints, ValidationInfo, field_validator, model_validator

from dispatcher.config.allowlists import check_allowlist
from dispatcher.config.base import Count, Seconds, Size, Table
from dispatcher.config.delivery import BreakerSettings, DeadSettings, RateSettings, RetrySettings
from dispatcher.config.destination_types import BROWSER_TYPES
from dispatcher.config.rules import Category, MappingRule, PrivacySettings

#: Where a type does better with another default than the schema's: a line costs less to write than an HTTP item.
#: The log is the record of what happened, so its events wait for as long as it takes; and a disk that is full for a
#: moment must not hold it up for long.
_TYPE_DEFAULTS: Final[Mapping[str, Mapping[str, Any]]] = MappingProxyType(
    {
        "tracking_log": {
            "batch_events": 1000,
            "batch_bytes": 2_000_000,
            "retry": {"max_seconds": 30.0, "max_age_seconds": "never"},
            "breaker": {"first_seconds": 1.0, "max_seconds": 10.0},
        },
        # A request holds a thousand.
        "meta_conversions": {"batch_events": 1000, "batch_bytes": 900_000},
    }
)

DestinationName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$")]


class DestinationSettings(Table):
    """One destination. Keys beyond these are the type's own ``options``, which the type checks."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="A type such as segment, or package.module:Class; the table's name when absent.")
    enabled: bool = Field(True, description="Whether events are routed there.")
    events: tuple[str, ...] | None = Field(
        None, description="Allowlist: names, * and ? globs, ! exceptions. Absent: all for tracking_log, else none."
    )
    internal: bool = Field(True, description="Whether internal events may go there; false keeps them out.")
    batch_events: Count = Field(100, description="Most events in a batch (tracking_log and meta_conversions: 1000).")
    batch_bytes: Size = Field(
        475_000, description="Most bytes in a batch (tracking_log: 2 000 000, meta_conversions: 900 000)."
    )
    lease_seconds: Seconds = Field(60.0, description="How long one delivery may take before another worker tries.")
    retry: RetrySettings = Field(default_factory=RetrySettings, description="The backoff of a failed delivery.")
    breaker: BreakerSettings = Field(default_factory=BreakerSettings, description="When it is left alone.")
    rate: RateSettings = Field(default_factory=RateSettings, description="How fast it may be sent to.")
    dead: DeadSettings = Field(default_factory=DeadSettings, description="How many dead letters Redis keeps.")
    consent: tuple[Category, ...] | None = Field(
        None, description="Categories of consent, all of which an event that speaks of consent must have. Absent: none."
    )
    integration: str | None = Field(
        None, description="What Segment's integrations object calls it; the type's own name when absent, \"\": nothing."
    )
    mapping: tuple[MappingRule, ...] = Field((), description="Rules, applied one after another.")
    privacy: PrivacySettings = Field(default_factory=PrivacySettings, description="What it must not get of people.")

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults_of_the_type(cls, data: Any) -> Any:
        return _filled(data, _TYPE_DEFAULTS.get(str(data.get("type")), {})) if isinstance(data, dict) else data

    @field_validator("events", mode="after")
    @classmethod
    def _check_events(cls, value: tuple[str, ...] | None) -> tuple[str, ...] | None:
        check_allowlist(value or ())
        return value

    @field_validator("mapping", mode="before")
    @classmethod
    def _refuse_a_single_rule(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError("it must be a list: begin each rule with [[destinations.NAME.mapping]], in two brackets")
        return value

    @field_validator("consent", "integration", "mapping", "privacy", mode="after")
    @classmethod
    def _check_rules(cls, value: Any, info: ValidationInfo) -> Any:
        if value and value != PrivacySettings() and info.data.get("type") == "tracking_log":
            raise ValueError(
                "the tracking log is the site's own record of what happened and has no rules: take this away; "
                "what no record may hold is taken out of events by a processor, before they are kept"
            )
        if value == () and info.field_name == "consent":
            raise ValueError("it lists no category: name those that are needed, or take it away")
        return value

    @field_validator("rate", mode="after")
    @classmethod
    def _check_rate(cls, value: RateSettings, info: ValidationInfo) -> RateSettings:
        if value != RateSettings() and info.data.get("type") == "tracking_log":
            raise ValueError("the tracking log is a file, to which nothing is sent at a rate: take this away")
        return value

    @property
    def in_browser(self) -> bool:
        """Whether its vendor takes events from browsers only."""
        return self.type in BROWSER_TYPES

    @property
    def options(self) -> dict[str, Any]:
        """The type's own keys, such as ``write_key`` and ``path``: a copy, with credentials in the clear."""
        return dict(self.__pydantic_extra__ or {})


def _filled(table: dict[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    filled = {**defaults, **table}
    for key, value in defaults.items():
        if isinstance(value, Mapping) and isinstance(table.get(key), Mapping):
            filled[key] = {**value, **table[key]}
    return filled
