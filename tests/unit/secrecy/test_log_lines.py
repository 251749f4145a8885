"""Log lines of libraries: nothing in them moves a terminal, and tracebacks hold no credentials."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator

import pytest
from celery.utils.log import ColorFormatter

from dispatcher.secrecy.log_lines import guard_handlers, log_to_stderr

ESCAPE = "\x1b[2J\x9b\u202e"


@pytest.fixture
def lines() -> Iterator[tuple[logging.Logger, io.StringIO]]:
    logger, written = logging.Logger("a.library"), io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    logger.addHandler(handler)
    guard_handlers(logger)
    guard_handlers(logger)
    yield logger, written
    handler.close()


def test_control_characters_of_a_message_are_escaped(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = lines
    logger.warning("it answered %s", ESCAPE)
    logger.info("%(what)s", {"what": ESCAPE})
    escaped = "\\u001b[2J\\u009b\\u202e"
    assert written.getvalue() == f"WARNING it answered {escaped}\nINFO {escaped}\n"


def test_a_traceback_has_neither_controls_nor_credentials(lines: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = lines
    words = " ".join(("redis://:hidden-password@host/0", "ann@example.org", ESCAPE))
    try:
        raise OSError(words)
    except OSError:
        logger.exception("the relay failed")
    text = written.getvalue()
    assert "Traceback" in text
    assert "test_log_lines.py" in text
    for unsafe in ("hidden-password", "ann@example.org", "\x1b", "\x9b", "\u202e"):
        assert unsafe not in text


def test_the_colours_of_celery_stay_and_others_see_the_record(caplog: pytest.LogCaptureFixture) -> None:
    formatter = ColorFormatter("%(message)s", use_color=True)
    logger, written = logging.Logger("celery"), io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(formatter)
    logger.addHandler(handler)
    logger.addHandler(caplog.handler)
    guard_handlers(logger)
    logger.error("it answered %s", ESCAPE)
    assert written.getvalue().startswith("\x1b[1;31m")
    assert "\\u001b[2J" in written.getvalue()
    assert caplog.records[-1].args == (ESCAPE,)
    assert caplog.records[-1].message == f"it answered {ESCAPE}"


def test_a_command_leaves_handlers_that_are_not_its_own() -> None:
    before = [handler.formatter for handler in logging.getLogger().handlers]
    assert before
    log_to_stderr()
    assert [handler.formatter for handler in logging.getLogger().handlers] == before
