"""IcebergExport: logs become rows of an Iceberg table, each event once, whoever else writes them there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dispatcher.exports.day_export import DayExport
from dispatcher.exports.iceberg.address import TableAddress
from dispatcher.exports.iceberg.days import IcebergDays
from dispatcher.exports.part_reading import Chosen
from dispatcher.exports.target import DirectoryTarget

if TYPE_CHECKING:
    from dispatcher.exports.bucket.log_object import LogObject


class IcebergExport(DayExport):
    """One export. Call ``run`` once. Makes the table where it is missing, so that it blocks for its catalog.

    Args:
        logs: The tracking logs, each once.
        address: Where the rows go.
        state: The directory of this machine for what is under way, for manifests and broken lines, and for what was
            read: given the table's own id, so that another table of that name is another one.
        chosen: Which events are wanted.
        options: As of ``DayExport``.
    """

    def __init__(
        self,
        logs: Sequence[Path | LogObject],
        address: TableAddress,
        state: Callable[[str], Path],
        chosen: Chosen,
        **options: Any,
    ) -> None:
        table = address.open()
        self.state = state(str(table.load_or_make().metadata.table_uuid))
        # What was written there has to be found again when a person is forgotten.
        address.keep(self.state)
        super().__init__(logs, DirectoryTarget(self.state), IcebergDays(table), chosen, **options)
