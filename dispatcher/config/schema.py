"""The schema: frozen models with every setting, its default and what it means. Reads no file; ``load`` does."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, PrivateAttr, SecretStr, ValidationInfo, field_validator

from dispatcher.config.allowlists import check_allowlist
from dispatcher.config.base import MIB, Count, Seconds, SecondsOrNone, Size, Table, checked_by
from dispatcher.config.board import BoardSettings
from dispatcher.config.collector import CollectorSettings, SourceName, SourceSettings, check_write_keys
from dispatcher.config.delivery import DeadSettings
from dispatcher.config.destination import DestinationName, DestinationSettings
from dispatcher.config.forgetting import ForgettingSettings, RetentionSettings
from dispatcher.config.object_path import is_object_path
from dispatcher.config.paths import default_state_directory, expand
from dispatcher.config.research_package import ResearchPackageSettings
from dispatcher.config.retirement import RetirementSettings
from dispatcher.connections.embedded import embedded_url
from dispatcher.connections.urls import BROKER_SCHEMES, STORE_SCHEMES, check_url, is_redis

# What a journal file needs beside its largest event: its header, the frame's and the alignment of both to pages.
_JOURNAL_OVERHEAD_BYTES: Final = 4096


def _environ(info: ValidationInfo) -> Mapping[str, str]:
    environ: Mapping[str, str] = os.environ if info.context is None else info.context["environ"]
    return environ


def _expand(value: Any, info: ValidationInfo) -> Any:
    if not isinstance(value, str | Path):
        return value
    # Of each path the name of its field is enough.
    is_variable = info.context is not None and info.field_name in info.context.get("variables", ())
    return expand(value, _environ(info), is_variable=is_variable)


def _check_dsn(dsn: SecretStr | None) -> None:
    if dsn is not None and not _is_dsn(dsn.get_secret_value()):
        raise ValueError("it must look like https://key@host/1; copy it from the project's settings in Sentry")


def _is_dsn(text: str) -> bool:
    """Whether Sentry's SDK can read it: scheme, public key, host, and the project as the last part of the path."""
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        return False
    project = parts.path.rpartition("/")[2]
    return parts.scheme in ("http", "https") and bool(parts.username and parts.hostname) and project.isdecimal()


def _check_broker(url: str | None) -> None:
    if url is not None:
        check_url(url, BROKER_SCHEMES, "a broker")


def _check_processors(entries: tuple[str, ...]) -> None:
    for entry in entries:
        if not is_object_path(entry):
            raise ValueError(f"{entry!r} must have the form package.module:callable")


class OutboxSettings(Table):
    """The durable local outbox of each emitting process."""

    directory: Annotated[Path | None, BeforeValidator(_expand)] = Field(
        None, description="Where the journals are; <state_directory>/outbox when absent."
    )
    storage: Literal["disk", "memory"] = Field(
        "disk", description="`memory` is for an app's own tests: nothing is written, relayed or delivered."
    )
    max_bytes: Count = Field(
        2048 * MIB, description="What the journals of all processes may take together; then emit refuses."
    )
    max_event_bytes: Size = Field(1 * MIB, description="Largest encoded event, in bytes.")
    journal_bytes: Count = Field(4 * MIB, validate_default=True, description="Size of one journal file.")
    sync_seconds: Seconds = Field(1.0, description="How often a backlog is synced to disk.")
    keep_bytes: Annotated[int, Field(ge=0)] = Field(
        256 * MIB,
        description="What journals of unsettled events may take, kept for a Redis that loses them; 0: none.",
    )
    exit_flush_seconds: SecondsOrNone = Field(1.0, description="How long a process that ends waits for its relay.")

    @field_validator("journal_bytes", mode="after")
    @classmethod
    def _check_sizes(cls, value: int, info: ValidationInfo) -> int:
        largest, total = info.data.get("max_event_bytes"), info.data.get("max_bytes")
        if largest is not None and value < largest + _JOURNAL_OVERHEAD_BYTES:
            raise ValueError(
                f"it must be at least max_event_bytes + {_JOURNAL_OVERHEAD_BYTES} = "
                f"{largest + _JOURNAL_OVERHEAD_BYTES}, or the largest event would fit no journal; "
                "raise journal_bytes or lower max_event_bytes"
            )
        if total is not None and 2 * value > total:
            # A writer goes on to the next file before the relay can delete the one before it.
            raise ValueError(
                f"two of them must not exceed max_bytes = {total}, or nothing could be taken once one is full; "
                "lower journal_bytes or raise max_bytes"
            )
        return value


class RelaySettings(Table):
    """Who moves events from the outbox to the batch store, and how eagerly."""

    mode: Literal["thread", "external"] = Field(
        "thread", description="A thread of the emitting process, or left to a `dispatcher relay` process."
    )
    linger_seconds: SecondsOrNone = Field(
        0.05,
        description="How long a busy process collects events before they are put; in light traffic each goes at once.",
    )
    backoff_max_seconds: Seconds = Field(5.0, description="Longest pause between tries while the store is down.")
    adopt_seconds: Seconds = Field(5.0, description="How often journals of dead processes are searched for.")
    reload_seconds: Seconds = Field(2.0, description="How often the settings files are checked for changes.")
    timeout_seconds: Seconds = Field(0.5, description="How long one call to the store or the broker may take.")


class WorkerSettings(Table):
    """The Celery worker."""

    pool: Literal["threads", "prefork", "solo", "gevent"] = Field("threads", description="Celery's pool.")
    concurrency: Count = Field(4, description="Deliveries at a time in one worker.")
    bell_seconds: Seconds = Field(1.0, description="How often what is due or was never answered is rung again.")
    silent_seconds: Seconds = Field(
        60.0, description="How long a worker's interpreter may be held before it is killed and started again."
    )


class ReceiptsSettings(Table):
    """What workers write down of each event that they are done with, for `dispatcher find`: its id and its fate."""

    directory: Annotated[Path | None, BeforeValidator(_expand)] = Field(
        None, description="Where the files are; <state_directory>/receipts when absent. Hosts may share it."
    )
    max_bytes: Annotated[int, Field(ge=0)] = Field(
        256 * MIB, description="What the files there may take together, 16 bytes an event and destination; 0: none."
    )
    max_age_seconds: Seconds = Field(2_592_000.0, description="How long a file is kept after its last receipt.")


class SentrySettings(Table):
    """What needs a person, reported to Sentry by workers and `dispatcher relay`; off without a dsn."""

    dsn: Annotated[SecretStr | None, checked_by(_check_dsn)] = Field(
        None, description="The project's DSN. SENTRY_DSN is not read."
    )
    environment: str | None = Field(None, description="Absent: that of the settings, chosen by DISPATCHER_ENV.")
    release: str | None = Field(None, description="Absent: dispatcher@ and its version.")
    server_name: str | None = Field(None, description="What this machine is called in events. Absent: left out.")
    interval_seconds: Seconds = Field(60.0, description="At most one event of an issue in so many seconds.")
    traces_sample_rate: float = Field(
        0.0, ge=0, le=1, description="Fraction of deliveries to trace besides those that continue a request's trace."
    )


class Origin(Protocol):
    """Where settings were read, and how to read them again."""

    def load(self) -> Settings:
        """The settings as they are now. Raises SettingsError."""
        ...

    def files(self) -> tuple[Path, ...]:
        """The files that ``load`` would read, whether or not they exist now. Raises SettingsError."""
        ...


class Settings(Table):
    """Everything that an operator can decide. Frozen, so that it can be shared by threads and kept after fork."""

    environment: str = Field("development", description="Chosen by DISPATCHER_ENV.")
    broker_url: Annotated[str | None, checked_by(_check_broker)] = Field(
        None, description="Celery's broker. Absent: `dispatcher up` starts a Redis."
    )
    store_url: str | None = Field(
        None,
        validate_default=True,
        description="Redis, or Redis Cluster, of the batch store; the broker's when that is a Redis.",
    )
    state_directory: Path = Field(
        default=None,
        validate_default=True,
        description="Outbox, embedded Redis, logs; $XDG_STATE_HOME/dispatcher or ~/.local/state/dispatcher.",
    )
    strict: bool = Field(False, description="Whether emit raises for an event that it cannot take.")
    debug: bool | None = Field(
        None,
        description="Whether relays and workers show events to `dispatcher tail` and the board's live page. Absent: in "
        "`development` only.",
    )
    processors: Annotated[tuple[str, ...], checked_by(_check_processors)] = Field(
        (), description="package.module:callable, in the order in which they run."
    )
    internal_events: Annotated[tuple[str, ...], checked_by(check_allowlist)] = Field(
        ("edx.bi.*",), description="Names and globs of events for internal use only."
    )
    outbox: OutboxSettings = Field(default_factory=OutboxSettings, description="The durable local outbox.")
    relay: RelaySettings = Field(default_factory=RelaySettings, description="From the outbox to the batch store.")
    worker: WorkerSettings = Field(default_factory=WorkerSettings, description="The Celery worker.")
    dead: DeadSettings = Field(default_factory=DeadSettings, description="Dead letters of what emit could not take.")
    receipts: ReceiptsSettings = Field(
        default_factory=ReceiptsSettings, description="What workers write down of each event, for `dispatcher find`."
    )
    collector: CollectorSettings = Field(default_factory=CollectorSettings, description="Takes events over HTTP.")
    board: BoardSettings = Field(default_factory=BoardSettings, description="The ledger as a page.")
    sources: Annotated[Mapping[SourceName, SourceSettings], checked_by(check_write_keys)] = Field(
        default_factory=dict, description="A table for each source that may send to the collector, under its name."
    )
    sentry: SentrySettings = Field(default_factory=SentrySettings, description="Reports of what needs a person.")
    research_package: ResearchPackageSettings = Field(
        default_factory=ResearchPackageSettings, description="Each partner's lines of the tracking log."
    )
    forgetting: ForgettingSettings = Field(default_factory=ForgettingSettings, description="People who are forgotten.")
    retention: RetentionSettings = Field(
        default_factory=RetentionSettings, description="How long what is written stays."
    )
    retirement: RetirementSettings = Field(
        default_factory=RetirementSettings, description="Requests of edX's retirement pipeline."
    )
    destinations: Mapping[DestinationName, DestinationSettings] = Field(
        default_factory=dict, description="A table for each destination, under its name."
    )

    _origin: Origin | None = PrivateAttr(None)

    @property
    def origin(self) -> Origin | None:
        """Where they were read; None for settings made in code."""
        return self._origin

    @property
    def is_debug(self) -> bool:
        """Whether events may be shown as they pass."""
        return self.environment == "development" if self.debug is None else self.debug

    @property
    def broker(self) -> str:
        """Celery's broker: the one that is set, else the embedded Redis of `dispatcher up`."""
        return embedded_url(self.state_directory) if self.broker_url is None else self.broker_url

    @property
    def store(self) -> str:
        """The Redis of the batch store: the one that is set, else the broker's."""
        return self.broker if self.store_url is None else self.store_url

    @property
    def served_destinations(self) -> dict[str, DestinationSettings]:
        """The destinations that workers deliver to, by name: those that are enabled."""
        return {name: table for name, table in self.destinations.items() if table.enabled}

    @property
    def browser_destinations(self) -> dict[str, DestinationSettings]:
        """Those whose events pages take, by name: enabled, and of a type that is reached from browsers only."""
        return {name: table for name, table in self.served_destinations.items() if table.traits.in_browser}

    @property
    def outbox_directory(self) -> Path:
        """Where the journals are."""
        return self.state_directory / "outbox" if self.outbox.directory is None else self.outbox.directory

    @property
    def receipts_directory(self) -> Path:
        """Where workers write receipts."""
        return self.state_directory / "receipts" if self.receipts.directory is None else self.receipts.directory

    @field_validator("store_url", mode="after")
    @classmethod
    def _check_store(cls, value: str | None, info: ValidationInfo) -> str | None:
        broker = info.data.get("broker_url")
        if value is not None:
            check_url(value, STORE_SCHEMES, "the batch store")
        elif broker is not None and not is_redis(broker):
            raise ValueError("the broker is not a Redis, so the batch store needs one of its own; set store_url")
        return broker if value is None else value

    @field_validator("state_directory", mode="before")
    @classmethod
    def _expand_state_directory(cls, value: Any, info: ValidationInfo) -> Any:
        return default_state_directory(_environ(info)) if value is None else _expand(value, info)

    @field_validator("destinations", mode="before")
    @classmethod
    def _name_the_types(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {name: {"type": name, **table} if isinstance(table, dict) else table for name, table in value.items()}

    @field_validator("destinations", mode="after")
    @classmethod
    def _place_default_files(
        cls, value: Mapping[str, DestinationSettings], info: ValidationInfo
    ) -> Mapping[str, DestinationSettings]:
        state_directory = info.data.get("state_directory")
        if state_directory is None:
            return value
        return {name: _with_default_files(table, state_directory) for name, table in value.items()}


def _with_default_files(table: DestinationSettings, state_directory: Path) -> DestinationSettings:
    """The table, with a file in the state directory for each path of its type that it leaves out."""
    files = {
        option: str(state_directory / file)
        for option, file in table.traits.paths.items()
        if file is not None and option not in table.options
    }
    return table.model_copy(update=files) if files else table
