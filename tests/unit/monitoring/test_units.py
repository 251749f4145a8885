"""Durations, sizes and counts for people."""

from __future__ import annotations

import pytest

from dispatcher.monitoring.units import count_text, duration_text, size_text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.9, "0 s"), (119, "119 s"), (120, "2 min"), (7_199, "119 min"), (7_200, "2 h"), (172_800, "2 d")],
)
def test_a_duration_is_one_number_with_its_unit(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("number_of_bytes", "text"),
    [(0, "0 bytes"), (775, "775 bytes"), (8_388_608, "8.4 MB"), (2 << 30, "2.1 GB"), (1_999_999.5, "2.0 MB")],
)
def test_a_size_is_one_number_with_its_unit(number_of_bytes: float, text: str) -> None:
    assert size_text(number_of_bytes) == text


@pytest.mark.parametrize(("number", "text"), [(0, "0 events"), (1, "1 event"), (12_345, "12,345 events")])
def test_a_count_has_its_noun_in_the_right_number(number: int, text: str) -> None:
    assert count_text(number, "event") == text
