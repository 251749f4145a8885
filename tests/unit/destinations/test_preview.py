"""The tracking log's preview: the line, without the file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatcher.edx_log.render import Format, renderer
from dispatcher.event import Event, encode
from dispatcher.tasks.destinations.tracking_log import TrackingLog


@pytest.mark.parametrize("line_format", ["edx", "tutor", "event"])
def test_the_preview_is_the_line_and_touches_no_file(tmp_path: Path, line_format: Format) -> None:
    moment = datetime(2026, 1, 31, tzinfo=UTC)
    event = Event(id="e1", name="shop.paid", timestamp=moment, data={"order": 17, "é": 1e16}, context={"user_id": 3})
    options = TrackingLog.Options(path=tmp_path / "logs" / "tracking.log", format=line_format)
    log = TrackingLog("tracking_log", options)

    preview = log.preview(event)
    log.close()

    assert preview == {"line": renderer(line_format, ids=True)(encode(event)).decode()}
    assert list(tmp_path.iterdir()) == []
