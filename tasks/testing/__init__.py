"""What a destination is tested with: a contract that each one passes, and a server that stands in for its vendor.

Needs pytest, which dispatcher itself does not: import it in tests only.
"""

import pytest

# Before its import, or its failures would not show the values.
pytest.register_assert_rewrite("dispatcher.tasks.testing.contract")

from dispatcher.tasks.testing.contract import DestinationContract, EventsContract  # noqa: E402
from dispatcher.tasks.testing.contract.subject import batch_of, fates, with_data  # noqa: E402
from dispatcher.tasks.testing.vendor import CUT, POISON, SILENT, Call, Reply, Vendor  # noqa: E402

__all__ = [  # noqa: RUF022 - grouped by subject
    # The contract
    "DestinationContract",
    "EventsContract",
    # The vendor's side
    "CUT",
    "POISON",
    "SILENT",
    "Call",
    "Reply",
    "Vendor",
    # For tests of one's own beside it
    "batch_of",
    "fates",
    "with_data",
]
