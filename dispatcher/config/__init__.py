"""Settings: what operators decide, read from files and the environment into one frozen object."""

from dispatcher.config.delivery import RetrySettings
from dispatcher.config.destination import DestinationSettings
from dispatcher.config.destination_options import check_options, masked_settings
from dispatcher.config.destination_types import installed_types, load_type
from dispatcher.config.loading import Reading, load, read, source_files
from dispatcher.config.masking import masked, masked_url
from dispatcher.config.schema import Origin, OutboxSettings, RelaySettings, SentrySettings, Settings, WorkerSettings

__all__ = [  # noqa: RUF022 - grouped by subject
    # The schema
    "DestinationSettings",
    "Origin",
    "OutboxSettings",
    "RelaySettings",
    "RetrySettings",
    "SentrySettings",
    "Settings",
    "WorkerSettings",
    # Reading it
    "Reading",
    "load",
    "read",
    "source_files",
    # Showing it
    "masked",
    "masked_settings",
    "masked_url",
    # Destination types
    "check_options",
    "installed_types",
    "load_type",
]
