"""Destination: what the class of every destination type says and does, and the batch that it is given."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationInfo, field_validator

from dispatcher.config.credential import clean, secret_types
from dispatcher.config.traits import Traits
from dispatcher.config.variables import option_variable
from dispatcher.destinations.deletion import Deletion
from dispatcher.outcomes import RetryAfter

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dispatcher.event import Event
    from dispatcher.forgetting.place import Place
    from dispatcher.outcomes import Outcome
    from dispatcher.rules.rules import Rules
    from dispatcher.store.rate_limit import Rate

#: In the ``json_schema_extra`` of an option that is an address: the option without which nothing is sent there.
ONLY_WITH: Final = "only_with"


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Events on their way to one destination.

    Args:
        destination: The name of the destination's table in the settings.
        id: Unique for the destination, and the same when the batch comes again.
        payloads: The encoded events, oldest first.
        attempt: How often the batch was parked before; 0 at first.
        maybe_delivered: It was claimed before and never settled, or Redis had lost it, so it may have been delivered
            already.
        lease_until: When the lease runs out, on ``time.monotonic``'s clock. From then on another worker may have
            taken the batch over, and delivered it.
        first: How many events of the batch came before these and are settled: 0 for a batch that comes whole. One that
            ended several workers comes in parts, from the front, all with its id.
        put_at: When the batch was put, in seconds since 1970, by the store's clock; 0 where nobody knows.
        waited_seconds: How long ago that was when it was claimed.
        forgotten: The places, counted from 0 among the batch's events as they came, of those that were taken out since
            their person is to be forgotten. Only who tells events by their place in a batch needs them.
    """

    destination: str
    id: str
    payloads: tuple[bytes, ...]
    attempt: int = 0
    maybe_delivered: bool = False
    lease_until: float = math.inf
    first: int = 0
    put_at: float = 0.0
    waited_seconds: float = math.inf
    forgotten: tuple[int, ...] = ()


class Options(BaseModel):
    """Base of a destination's own settings: unknown keys are refused, values cannot be changed."""

    # What was given may be a credential, so that an error does not repeat it.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    @field_validator("*", mode="before")
    @classmethod
    def _clean_credentials(cls, value: Any, info: ValidationInfo) -> Any:
        """Trim every secret, whatever its option is called, and refuse what no credential is."""
        assert info.field_name is not None
        types = secret_types(cls.model_fields[info.field_name].annotation)
        return clean(value, is_single_word=types == {SecretStr}) if types else value


def reveal(credential: SecretStr | None) -> str:
    """A credential in the clear, for a request; empty where it is not set."""
    return "" if credential is None else credential.get_secret_value()


OptionsT_co = TypeVar("OptionsT_co", bound=Options, covariant=True)


class BaseDestination(ABC, Generic[OptionsT_co]):
    """What destinations that workers deliver to and those that browsers hand over to have in common.

    Args:
        name: The name of its table in the settings; also that of its queue, if it has one.
        options: The validated options of its own.
        rules: What the operator wants done with each event before: consent, mapping, privacy. None for nothing.
        rate: How fast all workers together may send. None for no limit.
    """

    #: The model of its own options.
    Options: ClassVar[type[Options]] = Options
    #: What must be known of it where it is not imported. Those of a class with an entry point are named by another one,
    #: in ``dispatcher.config.destination_types.TRAITS_GROUP``; without it they are taken for the usual ones.
    traits: ClassVar[Traits] = Traits()
    #: What Segment's ``integrations`` object calls it; None where that object has no say.
    integration: ClassVar[str | None] = None
    #: What becomes of a person there who is to be forgotten, as `dispatcher doctor` says it.
    deletion: ClassVar[Deletion] = "unknown"
    #: What who runs the site has to do for that, where `dispatcher forget` does not do it all: one or two sentences.
    deletion_steps: ClassVar[str] = ""
    #: Whether what it gets may be used for advertising: e-mail-like fields are hashed unless the settings say not to.
    advertising: ClassVar[bool] = False
    #: Requests a second that the vendor allows for one account; None where it names no limit. All workers together
    #: stay a little below; ``rate.per_second`` in the destination's table wins.
    requests_per_second: ClassVar[float | None] = None
    #: Where it may keep what it must remember; None where it is not known, and nothing is kept.
    state_directory: Path | None = None

    def __init__(
        self, name: str, options: OptionsT_co, *, rules: Rules | None = None, rate: Rate | None = None
    ) -> None:
        self.name = name
        self.options = options
        self.rules = rules
        self.rate = rate

    def missing_settings(self) -> str | None:
        """What the settings lack for anything to be sent, for a person; None where they lack nothing."""
        return None

    @classmethod
    def missing_package(cls) -> str | None:
        """The package that the type needs and that is not installed here, with the way out; None without one.

        Imports nothing. `dispatcher settings check` asks it; a worker starts without, and the events wait.
        """
        return None

    @classmethod
    def longest_seconds(cls, options: BaseModel) -> float:
        """How many seconds one request may take. A lease must be longer, or another worker sends the same meanwhile.

        Args:
            options: The validated options; by default the sum of those whose names end with ``timeout_seconds``.
        """
        names = (name for name in type(options).model_fields if name.endswith("timeout_seconds"))
        return sum(value for name in names if isinstance(value := getattr(options, name), int | float))

    @classmethod
    def max_age_seconds(cls, options: BaseModel) -> float | None:
        """How old an event may be for the vendor to take it; None for any age. A replay leaves older ones out.

        Args:
            options: The validated options.
        """
        return None

    def preview(self, event: Event) -> dict[str, Any]:
        """What would become of an event, for `dispatcher explain`: nothing is delivered, credentials are masked.

        Returns:
            ``{"request": …}`` or ``{"line": …}``; ``{"outcome": "dead" or "filtered", "reason": …, "error": …}``; empty
            for a destination that does not say.
        """
        return {}

    def places(self) -> Sequence[Place]:
        """Where `dispatcher forget` finds what this destination has of a person: its files, or the vendor's own API.

        By default nowhere: what was sent cannot be taken back from here, which the class says in ``traits``.
        """
        return ()

    def variable(self, option: str) -> str:
        """The environment variable of an option, for texts that say what to set."""
        return option_variable(self.name, option)

    def close(self) -> None:
        """Let go of files and connections. May be called twice."""


class Destination(BaseDestination[OptionsT_co]):
    """One place that workers deliver to. Made once in each worker process; its methods are called from threads."""

    #: Whether its events keep the trace of their request, as ``traceparent`` in the context. Others never see it.
    shows_traceparent: ClassVar[bool] = False

    @abstractmethod
    def deliver(self, batch: Batch) -> Sequence[Outcome]:
        """Deliver a batch and say what became of each event, in order. May block up to the lease.

        Raises:
            Exception: Whatever it raises parks the whole batch, to be tried again.
        """

    def deliver_all(self, batches: Sequence[Batch]) -> Sequence[Sequence[Outcome] | Exception]:
        """Deliver batches that were claimed together, and say what became of each. May block up to the lease.

        By default ``deliver`` is called for each, one after another, for as long as the lease leaves the time that the
        longest one took; what is left waits without being tried. A subclass that takes several batches along at less
        cost overrides it, and keeps to this: what happens to one batch changes nothing for the others.

        Args:
            batches: At least one, all to this destination. Each keeps its id, attempt and lease.

        Returns:
            For each batch, in order, the outcomes of its events; or what ``deliver`` raised for it, which parks it.
        """
        results: list[Sequence[Outcome] | Exception] = []
        longest = 0.0
        for batch in batches:
            began = time.monotonic()
            if results and began + longest > batch.lease_until:
                late = RetryAfter("the lease leaves no time for another batch", 0.0, "rate_limited")
                results.append([late] * len(batch.payloads))
                continue
            try:
                results.append(self.deliver(batch))
            except Exception as error:  # else the outcomes of the others would be lost
                results.append(error)
            longest = max(longest, time.monotonic() - began)
        return results

    @property
    def joins_batches(self) -> bool:
        """Whether workers claim several batches at a time for it: where ``deliver_all`` takes them at less cost.

        Where each would be delivered after the other, as ``deliver_all`` does by default, or as a ``deliver`` in a
        subclass would be called, several workers side by side are faster.
        """
        for each in type(self).__mro__:
            if "deliver_all" in vars(each):
                return each is not Destination
            if "deliver" in vars(each):
                return False
        return False
