"""An operator's regular expressions: what they find, what they may cost, and the errors for invalid ones."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dispatcher import config
from dispatcher.config.rules import MappingRule
from dispatcher.destinations.options import check_options
from dispatcher.errors import DropEvent, SettingsError
from dispatcher.event import Event
from dispatcher.rules.mapping import Mapper
from dispatcher.templates import expression
from dispatcher.templates.expression import SEEN_CHARACTERS, Expression
from tests.support.own_settings import own_settings

# More than any text of an event has.
MUCH = 1 << 20


@pytest.mark.parametrize(
    ("text", "found_in", "not_in"),
    [
        (r"(?i)\bbot\b", "a Bot of theirs", "robotic"),
        (r"^course-v1:\w+\+", "course-v1:Org+1", "a course-v1:Org+1"),
        (r"paid$", "order.paid", "order.paid.twice"),
        (r"[éü]\d{2}", "é12", "e12"),
        (r"", "", "nothing that does not have it"),
        (r"\pL", "\ud800é", "\ud800"),
    ],
)
def test_an_expression_matches_anywhere_in_the_text(text: str, found_in: str, not_in: str) -> None:
    found = Expression(text)
    assert found.is_found_in(found_in)
    assert found.is_found_in(not_in) is (text == "")


@pytest.mark.parametrize(
    "evil",
    [r"(a+)+$", r"(a|aa)*b", r"(a|b)*a(a|b){400}c", r"[\w.]+@[\w-]+(?:\.[\w-]+)+$", r".*.*.*.*=", r"(?:a?){500}b"],
)
@pytest.mark.parametrize("pump", ["a", "ab", "a.", "aab", "@a"])
def test_no_expression_takes_long_for_any_text(evil: str, pump: str) -> None:
    mapper = Mapper([MappingRule.model_validate({"when": {"a": {"matches": evil}}, "skip": True})])
    data = {"a": pump * (MUCH // len(pump)) + "!"}
    event = Event(id="1", name="a", timestamp=datetime.now(UTC), data=data, context={})
    began = time.thread_time()
    with suppress(DropEvent):
        mapper.apply(event)
    # Python's own expressions would take hours.
    assert time.thread_time() - began < 20


def test_matching_an_expression_blocks_no_other_thread() -> None:
    slow, text = Expression(r"(?:a?){500}b"), "a" * SEEN_CHARACTERS
    matching, seen = threading.Event(), threading.Event()

    def match() -> None:
        for _ in range(1_000):
            matching.set()
            slow.is_found_in(text)
            matching.clear()
            if seen.is_set():
                return

    # A thread gives way only where it lets others in by itself, so that none comes in right before or behind a match.
    before = sys.getswitchinterval()
    sys.setswitchinterval(1_000)
    try:
        thread = threading.Thread(target=match)
        thread.start()
        while thread.is_alive() and not seen.is_set():
            if matching.is_set():
                seen.set()
            time.sleep(0.0001)
        thread.join()
    finally:
        sys.setswitchinterval(before)
    assert seen.is_set()


def test_only_the_beginning_of_a_very_long_text_is_searched() -> None:
    found = Expression("b")
    assert found.is_found_in("a" * (SEEN_CHARACTERS - 1) + "b")
    assert not found.is_found_in("a" * SEEN_CHARACTERS + "b")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("(", "it is not a regular expression"),
        ("(?=a)", "it has a look-ahead: write"),
        ("a(?!b)", "it has a look-ahead: leave such events out"),
        ("(?<=a)b", "it has a look-behind: write"),
        ("(?<!a)b", "it has a look-behind: write"),
        (r"(a)\1", "it has a back reference: write again"),
        ("(?P<x>a)(?P=x)", "it has a back reference: write again"),
        ("(?>a)", "it has an atomic group: write"),
        ("a*+", "one repetition behind another: write one"),
        (r"a\Z", r"write \z"),
        (r"\u00e9", "write the character itself"),
        ("(?x)a b", "write the expression without blanks"),
        ("((a{1,99}){1,99}){1,99}", "write * or +, or a smaller number"),
        (r"\p{L}{900}", "repeat less"),
        ("x" * 1001, "may have 1,000: use any_of"),
    ],
)
def test_unsupported_syntax_is_named_with_a_remedy(tmp_path: Path, text: str, said: str) -> None:
    rule = f"[[destinations.segment.mapping]]\nwhen = {{a = {{matches = '{text}'}}}}\nskip = true\n"
    site = own_settings(tmp_path / "settings", rule)
    with pytest.raises(SettingsError) as caught:
        config.load({"HOME": "/home/sam", "DISPATCHER_SETTINGS": str(site)})
    [found] = caught.value.problems
    assert "destinations.segment.mapping[0].when.a.matches" in found
    assert said in found


def test_a_missing_library_is_an_error_only_if_expressions_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "re2", None)
    expression._re2.cache_clear()
    rule = "[[destinations.segment.mapping]]\nwhen = {a = {matches = 'x'}}\nskip = true\n"
    site = own_settings(tmp_path / "settings", rule)
    settings = config.load({"HOME": "/home/sam", "DISPATCHER_SETTINGS": str(site)})
    [found] = check_options(settings)
    assert "destinations.segment.mapping" in found
    assert "pip install 'google-re2>=1.1.20240702'" in found
    with pytest.raises(SettingsError, match="pip install"):
        Mapper(settings.destinations["segment"].mapping)


def test_a_process_without_expressions_does_not_load_the_library() -> None:
    code = (
        "import sys; from dispatcher import config; from dispatcher.rules import mapping; config.load(); "
        "assert 're2' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
