"""Every reason of dead letters and of filtered events stands in dispatcher/outcomes.py, and nowhere else as text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from dispatcher import outcomes

ROOT: Final = Path(__file__).resolve().parents[2]
TABLES: Final = (
    outcomes.NOT_TAKEN_REASONS,
    outcomes.DEAD_REASONS,
    outcomes.FILTERED_REASONS,
    outcomes.ROUTING_REASONS,
)
REASONS: Final = frozenset(reason for table in TABLES for reason in table)

# What a reason is given to, as its first argument.
TAKERS: Final = frozenset({"Dead", "DeadEvent", "DropEvent", "Filtered", "UndeliverableError", "_skip"})


def sources(pattern: str = "*.py") -> list[Path]:
    found = [path.relative_to(ROOT) for folder in ("dispatcher", "tasks") for path in (ROOT / folder).rglob(pattern)]
    # Not the links in dispatcher/ to what is found in tasks/ and settings/.
    other = (Path("dispatcher/tasks"), Path("dispatcher/settings"), Path("dispatcher/outcomes.py"))
    return [path for path in found if not any(path.is_relative_to(folder) for folder in other)]


def literal_reasons(source: str) -> Iterator[tuple[int, str]]:
    """Where source code has a reason as text: as an argument, as a class's reason, or compared with one."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name), args=[first, *_]) if name in TAKERS:
                values = [first]
            case ast.keyword(arg="reason", value=value):
                values = [value]
            case ast.Assign(targets=[ast.Name(id="reason")], value=value):
                values = [value]
            case ast.Compare() if any("reason" in ast.unparse(side) for side in (node.left, *node.comparators)):
                values = [node.left, *node.comparators]
            # A word such as "direct" has other uses, but one of several words is a reason.
            case ast.Constant(value=str(text)) if text in REASONS and "_" in text:
                values = [node]
            case _:
                continue
        for value in values:
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield value.lineno, value.value


def test_every_reason_has_one_sentence_for_a_person() -> None:
    for table in TABLES:
        for reason, meaning in table.items():
            assert re.fullmatch(r"[a-z_]+", reason)
            assert re.fullmatch(r"[A-Z][^.]*(\.[a-z_][^.]*)*\.", meaning), meaning


def test_every_constant_is_in_a_table() -> None:
    constants = {value for name, value in vars(outcomes).items() if name.isupper() and isinstance(value, str)}

    assert constants == REASONS


def test_no_other_file_spells_a_reason() -> None:
    found = {path: hits for path in sources() if (hits := list(literal_reasons((ROOT / path).read_text())))}

    assert found == {}


def test_the_stores_scripts_give_known_reasons_only() -> None:
    pattern = r"(?:'(?:dead|filtered):|reason = '|'reason', '|count_filtered\(\{)(\w+)"
    given = {reason for path in sources("*.lua") for reason in re.findall(pattern, (ROOT / path).read_text())}

    of_pages = {outcomes.CONSENT, outcomes.DUPLICATE}
    known = {outcomes.DROPPED, outcomes.FILED, outcomes.TRANSFERRED, outcomes.UNKEPT, outcomes.VANISHED}
    assert given == known | of_pages


@pytest.mark.parametrize(
    "source",
    [
        'Dead("invalid", "it is not valid")',
        'raise DropEvent("mine")',
        'raise UndeliverableError("missing_user", error)',
        'outcomes.Filtered("suppressed")',
        'self._skip("direct", "it is a call")',
        'DeadLetter(reason="vanished")',
        'class Mistake(Exception):\n    reason = "mistaken"',
        'if letter.reason == "filed": pass',
        'BY_LIST = {"not_on_allowlist"}',
    ],
)
def test_code_that_spells_a_reason_is_found(source: str) -> None:
    assert list(literal_reasons(source)) != []
