"""The house rules that can be counted: sizes of files and rooms, plain sentences, and names of tests."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
UNIT = ROOT / "tests" / "unit"

MAX_LINES = 400
MAX_FUNCTIONS_PER_1000_LINES = 60
# "There is no such file" reads worse than "the file does not exist"; some sentences need it all the same.
MAX_IS_NO = 20
IS_NO = re.compile(r"\b(is|are) (no|none)\b")
MAX_TEST_NAME = 80
# Modules that stand directly in a package instead of in one of its rooms.
MAX_FLAT_MODULES = {"dispatcher": 10, "tasks": 4}


def source(*suffixes: str) -> list[Path]:
    """The files of both packages, without what the links ``dispatcher/tasks`` and ``dispatcher/settings`` repeat."""
    links = [path for path in (ROOT / "dispatcher").iterdir() if path.is_symlink()]
    found = [path for package in MAX_FLAT_MODULES for path in (ROOT / package).rglob("*") if path.suffix in suffixes]
    return [path for path in found if not any(path.is_relative_to(link) for link in links)]


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def line_count(path: Path) -> int:
    return path.read_text().count("\n")


def test_no_source_file_is_long() -> None:
    helpers = [path for path in (ROOT / "tests").rglob("*.py") if not path.name.startswith("test_")]
    files = [*source(".py", ".lua"), *helpers]
    assert len(files) > 300, "this test does not find the source any more"
    assert {str(path.relative_to(ROOT)): n for path in files if (n := line_count(path)) > MAX_LINES} == {}


@pytest.mark.parametrize("package", list(MAX_FLAT_MODULES))
def test_few_modules_stand_outside_of_rooms(package: str) -> None:
    modules = sorted(path.name for path in (ROOT / package).glob("*.py"))
    assert len(modules) <= MAX_FLAT_MODULES[package], modules


def test_functions_are_not_cut_too_small() -> None:
    files = source(".py")
    count, lines = sum(len(list(functions(path))) for path in files), sum(map(line_count, files))
    assert 1000 * count / lines <= MAX_FUNCTIONS_PER_1000_LINES, f"{count} functions in {lines} lines"


def test_sentences_say_what_is() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in source(".py", ".lua")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for _ in IS_NO.findall(line)
    ]
    assert len(found) <= MAX_IS_NO, "\n".join(found)


def test_unit_tests_have_the_rooms_of_the_source() -> None:
    rooms = [path.relative_to(UNIT) for path in UNIT.rglob("*") if path.is_dir() and path.name != "__pycache__"]
    unknown = [
        str(room)
        for room in rooms
        if room.parts[0] != "project" and not (ROOT / "dispatcher" / room).is_dir() and not (ROOT / room).is_dir()
    ]
    assert unknown == []


def test_names_of_tests_are_short() -> None:
    files = [*(ROOT / "tests").rglob("test_*.py"), *(ROOT / "tasks" / "testing").rglob("*.py")]
    names = [(function.name, path) for path in files for function in functions(path)]
    assert len(names) > 1500, "this test does not find the tests any more"
    assert [(name, path.name) for name, path in names if len(name) > MAX_TEST_NAME and name.startswith("test")] == []
