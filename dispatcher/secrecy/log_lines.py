"""Log lines: what libraries log beside us, as it may stand in a file or on a terminal.

Celery, kombu and others write texts of errors as they are. Our own messages are safe before they are logged.
"""

from __future__ import annotations

import copy
import logging
from types import TracebackType

from dispatcher.secrecy.masking import mask_addresses, mask_url
from dispatcher.secrecy.safe_text import safe_lines

_ErrorInfo = tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]


class SafeFormatter(logging.Formatter):
    """Formats as another formatter does, with control characters escaped, and tracebacks without credentials.

    Safe in threads, as handlers call it.

    Args:
        base: Which colours, and writes the time. It gets a copy of each record: other handlers see the record as it is.
    """

    def __init__(self, base: logging.Formatter) -> None:
        super().__init__()
        self._base = base

    def format(self, record: logging.LogRecord) -> str:
        """The line, or lines, of a record. Raises what ``getMessage`` does for arguments that do not fit."""
        record.message = record.getMessage()  # as every formatter does
        plain = copy.copy(record)
        plain.msg, plain.args = safe_lines(record.message), None
        if record.exc_info:
            plain.exc_text = self.formatException(record.exc_info)
        return self._base.format(plain)

    def formatException(self, ei: _ErrorInfo) -> str:  # noqa: N802 - logging's name
        """A traceback: the texts of errors may hold URLs with passwords, addresses and escape sequences."""
        return safe_lines(mask_addresses(mask_url(self._base.formatException(ei))))


def log_to_stderr() -> None:
    """Have what is logged at INFO and above written to stderr, for a command. Does nothing where logging is set up."""
    handler = logging.StreamHandler()
    handler.setFormatter(SafeFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def guard_handlers(logger: logging.Logger) -> None:
    """Have what a logger's handlers write be safe. May be called again; handlers that are added later are not guarded.

    Args:
        logger: Whose own handlers are meant, not those of its parents.
    """
    for handler in logger.handlers:
        if not isinstance(handler.formatter, SafeFormatter):
            handler.setFormatter(SafeFormatter(handler.formatter or logging.Formatter()))
