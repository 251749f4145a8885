"""Settings: what operators decide, read from files and the environment into one frozen object."""

from dispatcher.config.delivery import RetrySettings
from dispatcher.config.destination import DestinationSettings
from dispatcher.config.destination_types import installed_types
from dispatcher.config.files import DEFAULT_ENVIRONMENT
from dispatcher.config.loading import LoadedSettings, load, read, source_files
from dispatcher.config.rescue import rescue
from dispatcher.config.schema import Origin, OutboxSettings, RelaySettings, SentrySettings, Settings, WorkerSettings
from dispatcher.config.traits import Traits
from dispatcher.secrecy.masking import mask, mask_url

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
    "DEFAULT_ENVIRONMENT",
    "LoadedSettings",
    "load",
    "read",
    "rescue",
    "source_files",
    # Showing it
    "mask",
    "mask_url",
    # Destination types
    "Traits",
    "installed_types",
]
