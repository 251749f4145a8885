"""What a destination type is, it says itself: no code outside the type's own asks for one by its name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from dispatcher.config import installed_types

ROOT: Final = Path(__file__).resolve().parents[3]
TYPES: Final = frozenset(installed_types())

# Where destinations are meant, which the demo's own settings call by these names.
DEMO: Final = Path("dispatcher/local/demo")


def sources() -> list[Path]:
    found = [path.relative_to(ROOT) for folder in ("dispatcher", "tasks") for path in (ROOT / folder).rglob("*.py")]
    own = (Path("dispatcher/destinations/browser"), Path("tasks/destinations"), DEMO)
    # Not the links in dispatcher/ to what is found in tasks/ and settings/.
    links = (Path("dispatcher/tasks"), Path("dispatcher/settings"))
    return [path for path in found if not any(path.is_relative_to(folder) for folder in (*own, *links))]


def names_asked_for(source: str) -> Iterator[int]:
    """The lines that compare with a type's name, match it, give it another name, or hold it in a set, list or dict."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Compare():
                values = [node.left, *node.comparators]
            case ast.Set() | ast.List() | ast.Tuple():
                values = node.elts
            case ast.Dict():
                values = [key for key in node.keys if key is not None]
            case ast.MatchValue():
                values = [node.value]
            case ast.Assign() | ast.AnnAssign() if node.value is not None:
                values = [node.value]
            case _:
                continue
        if any(isinstance(value, ast.Constant) and value.value in TYPES for value in values):
            yield node.lineno


def test_no_code_asks_for_a_destination_type_by_its_name() -> None:
    found = {path: lines for path in sources() if (lines := list(names_asked_for((ROOT / path).read_text())))}
    # Its __all__ has the module dispatcher.segment.
    assert len(found.pop(Path("dispatcher/__init__.py"))) == 1
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        'if table.type == "segment": pass',
        'if "segment" != table.type: pass',
        'log = table.type in ("tracking_log", "other")',
        'BROWSER = frozenset({"qualaroo"})',
        'DIRECT: Final = "segment"',
        'NEEDED = {"segment": ("write_key",)}',
        'match table.type:\n    case "webhook":\n        pass',
    ],
)
def test_code_that_asks_for_a_name_is_found(source: str) -> None:
    assert list(names_asked_for(source)) != []
