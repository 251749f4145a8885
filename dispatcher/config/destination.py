"""The table of one destination: what every destination has, whatever its type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import ConfigDict, Field, StringConstraints, ValidationInfo, field_validator, model_validator

from dispatcher.config.allowlists import Allowlist
from dispatcher.config.base import Count, Seconds, Size, Table, checked_by
from dispatcher.config.delivery import BreakerSettings, DeadSettings, RateSettings, RetrySettings
from dispatcher.config.destination_types import traits_of
from dispatcher.config.rules import Category, MappingRule, PrivacySettings
from dispatcher.config.traits import Traits
from dispatcher.errors import SettingsError

# Names that mean something else: the dead letters of what emit could not take, in commands, metrics and the ledger; and
# Celery's own exchange and keys, beside which the queue of a destination stands.
RESERVED_NAMES: Final = frozenset({"emit", "celeryev", "unacked", "unacked_index", "unacked_mutex"})

# So many that each of twenty servers has some; each costs the bell a question a second in a cluster.
MAX_SLOTS: Final = 64


def _check_name(name: str) -> None:
    if name in RESERVED_NAMES:
        raise ValueError(f"{name} cannot be the name of a destination, since it means something else; take another")
    if "__" in name or name.endswith("_"):
        raise ValueError(
            "the name of a destination has no two underscores in a row and none at its end, since these end it in "
            "variables such as DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY"
        )


DestinationName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*$"), checked_by(_check_name)]


class DestinationSettings(Table):
    """One destination. Keys beyond these are the type's own ``options``, which the type checks."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="A type such as segment, or package.module:Class; the table's name when absent.")
    enabled: bool = Field(True, description="Whether events are routed there.")
    events: Allowlist = Field(
        None, description="Allowlist: names, * and ? globs, ! exceptions. Absent: none, but for types that take all."
    )
    internal: bool = Field(True, description="Whether internal events may go there; false keeps them out.")
    batch_events: Count = Field(100, description="Most events in a batch.")
    batch_bytes: Size = Field(475_000, description="Most bytes in a batch.")
    slots: Annotated[int, Field(ge=1, le=MAX_SLOTS)] = Field(
        1, description="Over how many slots of the store its batches spread; more than one is for a Redis Cluster."
    )
    handover_hours: Annotated[float, Field(gt=0, le=24 * 90)] = Field(
        24.0, description="For types in browsers: how long an event waits for its visitor's next page."
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
        if not isinstance(data, dict) or not isinstance(data.get("type"), str):
            return data
        try:
            return _filled(data, traits_of(data["type"]).defaults)
        except SettingsError as error:
            raise ValueError(error.problems[0]) from None

    @field_validator("mapping", mode="before")
    @classmethod
    def _refuse_a_single_rule(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            raise ValueError("it must be a list: begin each rule with [[destinations.NAME.mapping]], in two brackets")
        return value

    @field_validator("consent", "integration", "mapping", "privacy", "rate", "slots", mode="after")
    @classmethod
    def _check_that_the_type_takes_it(cls, value: Any, info: ValidationInfo) -> Any:
        assert info.field_name is not None
        reason = traits_of(info.data.get("type", "")).refuses.get(info.field_name)
        if (
            reason is not None
            and value
            and value != cls.model_fields[info.field_name].get_default(call_default_factory=True)
        ):
            raise ValueError(reason)
        return value

    @field_validator("consent", mode="after")
    @classmethod
    def _check_consent(cls, value: tuple[Category, ...] | None) -> tuple[Category, ...] | None:
        if value == ():
            raise ValueError("it lists no category: name those that are needed, or take it away")
        return value

    @property
    def traits(self) -> Traits:
        """What sets its type apart from the others."""
        return traits_of(self.type)

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
