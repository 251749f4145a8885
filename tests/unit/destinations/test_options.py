"""A destination's options are checked against its table: a request has to end within its lease."""

from __future__ import annotations

from typing import Any

import pytest

from dispatcher.config import Settings
from dispatcher.destinations.options import check_options


@pytest.mark.parametrize(
    ("type_name", "changes", "longest"),
    [
        ("segment", {}, 13),
        ("webhook", {"url": "https://example.org/", "timeout_seconds": 59, "connect_timeout_seconds": 1}, 60),
        # The validation server is asked first, so that a request is two.
        ("google_analytics", {"debug": True}, 26),
        ("sailthru", {"timeout_seconds": 1000}, 1003),
    ],
)
def test_a_lease_that_a_request_may_outlast_is_refused(type_name: str, changes: dict[str, Any], longest: float) -> None:
    def problems(lease_seconds: float) -> list[str]:
        table = {"type": type_name, "events": ["*"], "lease_seconds": lease_seconds, **changes}
        return check_options(Settings.model_validate({"destinations": {"one": table}}))

    (problem,) = problems(min(longest, 60))

    assert problem.startswith("settings: destinations.one.lease_seconds: it is ")
    assert f"one request may take {longest:g} s" in problem
    assert problems(longest + 1) == []


def test_a_destination_without_requests_may_have_any_lease() -> None:
    table = {"type": "tracking_log", "path": "/tmp/t.log", "lease_seconds": 0.1}

    assert check_options(Settings.model_validate({"destinations": {"one": table}})) == []
