"""ForgottenLines: the lines of a log that name somebody who is to be forgotten, left out by who reads many of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from dispatcher.suppression.suppression_list import SuppressionList

#: What stands in the place of such a line, so that the others keep their numbers. No log has such a line.
FORGOTTEN_LINE: Final = b"\0forgotten"

_decode: Final = msgspec.json.Decoder().decode


class ForgottenLines:
    """Looks into lines as long as anybody is to be forgotten; that takes some ten microseconds for each.

    Args:
        suppressed: The list; None: nobody.

    Raises:
        OSError, DispatcherError: The list cannot be read.
    """

    def __init__(self, suppressed: SuppressionList | None) -> None:
        self._suppressed = suppressed
        if suppressed is not None:
            # What cannot be read must not let anybody through here, since the command can be run again.
            suppressed.refresh()

    def leave_out(self, lines: Sequence[bytes | None]) -> Sequence[bytes | None]:
        """The lines, with ``FORGOTTEN_LINE`` in the place of each that names one of these people."""
        if self._suppressed is None or self._suppressed.is_empty():
            return lines
        return [FORGOTTEN_LINE if line is not None and self.has(line) else line for line in lines]

    def has(self, line: bytes) -> bool:
        """Whether a line names one of these people; of a broken line nobody knows."""
        if self._suppressed is None or self._suppressed.is_empty():
            return False
        value = _read(line[max(0, line.find(b"{")) :])
        return value is not None and self._suppressed.is_named_in(value)


def _read(body: bytes) -> Any:
    try:
        return _decode(body)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return None
