"""No test fails by chance: none says that letters are missing which a random id or a digest has now and then."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[2]

# "ada" stands in one of two hundred random ids, "fade" in one of three thousand. Digits are sought in texts of ours.
OFTEN_IN_IDS = re.compile(r"(?=[0-9]*[a-f])[0-9a-f]{1,6}", re.IGNORECASE)


def mistakes(text: str) -> list[str]:
    """The expressions of a test that say that a few hexadecimal letters stand nowhere."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(text))
        if any(map(OFTEN_IN_IDS.fullmatch, _sought_in_vain(node)))
    ]


def _sought_in_vain(node: ast.AST) -> Iterator[str]:
    """The texts that ``node`` says are in none: ``"x" not in …``, ``[x for x in ("x", …) if x in …]``."""
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.NotIn):
        yield from _texts(node.left)
    if isinstance(node, ast.ListComp) and any(isinstance(test, ast.Compare) for test in node.generators[0].ifs):
        yield from _texts(node.generators[0].iter)


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        yield node.value if isinstance(node.value, str) else node.value.decode(errors="replace")
    elif isinstance(node, ast.Tuple | ast.List):
        for element in node.elts:
            yield from _texts(element)


def test_no_test_fails_by_chance() -> None:
    found = {
        f"{file.relative_to(TESTS)}: {mistake}"
        for file in TESTS.rglob("*.py")
        if "node_modules" not in file.parts
        for mistake in mistakes(file.read_text())
    }
    assert found == set()


@pytest.mark.parametrize(
    "line",
    ["'ada' not in record.read_text()", "b'Fade' not in payload", "[x for x in ('other', 'ada') if x in text]"],
    ids=["text", "bytes", "several"],
)
def test_a_mistake_would_be_found(line: str) -> None:
    assert mistakes(f"assert {line}") == [line]


@pytest.mark.parametrize("line", ["'503' not in screen", "'grace' not in text", "'ada' in text", "x not in text"])
def test_what_does_not_depend_on_chance_is_left_alone(line: str) -> None:
    assert mistakes(f"assert {line}") == []
