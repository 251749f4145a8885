"""No regular expression of ours takes long for any text: one that did would block its whole process."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import time
from collections.abc import Iterator
from types import ModuleType
from typing import Any, NamedTuple

import pytest

import dispatcher
from dispatcher.routing import Allowlist
from tests.support.hostile_texts import hostile_texts

# Characters of the longest text that is tried: what is quadratic takes 0.25 to 3 s for it, what is not less than 1 ms.
LONGEST = 1 << 14
# Seconds of a thread's own time, which a busy machine does not make longer.
ALLOWED = 0.1

METHODS = ("search", "match", "fullmatch", "findall", "finditer", "sub", "subn", "split")
# Run nothing when imported, or are not importable by themselves.
SCRIPTS = ("dispatcher.__main__", "dispatcher.local.demo.__main__")

# Texts that the code cuts, or refuses, before the expression sees them: their most characters.
CUT = {("dispatcher.rules.privacy", "_ADDRESS"): 254}


class Used(NamedTuple):
    """A regular expression and how it is asked."""

    module: str
    name: str
    pattern: re.Pattern[Any]
    methods: tuple[str, ...]


def modules() -> Iterator[ModuleType]:
    yield dispatcher
    for found in pkgutil.walk_packages(dispatcher.__path__, "dispatcher."):
        if found.name not in SCRIPTS and found.name != "dispatcher.tasks.celery":
            yield importlib.import_module(found.name)


def inside(value: Any) -> Iterator[re.Pattern[Any]]:
    kind = type(value)
    if issubclass(kind, re.Pattern):
        yield value
    elif issubclass(kind, dict):
        for one in value.values():
            yield from inside(one)
    elif issubclass(kind, list | tuple | set | frozenset):
        for one in value:
            yield from inside(one)


def used() -> Iterator[Used]:
    for module in modules():
        tree = ast.parse(inspect.getsource(module))
        places = [(module.__name__, vars(module))]
        places += [
            (f"{module.__name__}.{name}", dict(vars(value)))
            for name, value in vars(module).items()
            # isinstance would have a lazy object, such as Django's settings, look up what it stands for.
            if issubclass(type(value), type) and value.__module__ == module.__name__
        ]
        for place, names in places:
            for name, value in names.items():
                for pattern in inside(value):
                    yield Used(place, name, pattern, asked(tree, name))
        yield from written_in_place(module.__name__, tree)


def asked(tree: ast.Module, name: str) -> tuple[str, ...]:
    """The methods that are called on this name, or all of them where that does not show."""
    found = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in METHODS
        and name in (getattr(node.value, "id", None), getattr(node.value, "attr", None))
    }
    return tuple(sorted(found)) or METHODS[:4]


def written_in_place(module: str, tree: ast.Module) -> Iterator[Used]:
    """As in ``re.sub("…", "", text)``."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if getattr(node.func.value, "id", None) == "re" and node.args and isinstance(node.args[0], ast.Constant):
            method = node.func.attr
            if method in METHODS:
                yield Used(module, f"line {node.lineno}", re.compile(node.args[0].value), (method,))


USED = list({(one.module, one.name, one.pattern.pattern): one for one in used()}.values())


def ask(pattern: re.Pattern[Any], method: str, text: str) -> None:
    given = text.encode("utf-8") if isinstance(pattern.pattern, bytes) else text
    if method in ("sub", "subn"):
        pattern.sub(given[:0], given)
    elif method == "finditer":
        for _ in pattern.finditer(given):
            pass
    else:
        getattr(pattern, method)(given)


def taken(pattern: re.Pattern[Any], method: str, text: str) -> float:
    began = time.thread_time()
    ask(pattern, method, text)
    return time.thread_time() - began


def slow(pattern: re.Pattern[Any], method: str, longest: int) -> str | None:
    """A text that takes long, told; None where there is none."""
    characters = 12
    while characters <= longest:
        for text in hostile_texts(pattern, characters):
            # Twice, since the garbage of others may be collected in between.
            seconds = taken(pattern, method, text)
            if seconds > ALLOWED and (seconds := min(seconds, taken(pattern, method, text))) > ALLOWED:
                return f"{seconds:.2f} s for {len(text)} characters: {text[:20]!r}…{text[-10:]!r}"
        # Slowly at first, where each character more may double the time.
        characters = characters + 4 if characters < 40 else max(1 << 10, characters * 2)
    return None


def test_all_expressions_are_found() -> None:
    names = {(one.module, one.name) for one in USED}
    assert {
        ("dispatcher.rules.privacy", "_ADDRESS"),
        ("dispatcher.monitoring.sentry.traces", "_VALUE"),
        ("dispatcher.tasks.destinations.sailthru", "_EMAIL"),
    } <= names
    assert len(USED) > 50


@pytest.mark.parametrize("one", USED, ids=[f"{one.module}-{one.name}" for one in USED])
def test_no_expression_takes_long_for_any_text(one: Used) -> None:
    for method in one.methods:
        found = slow(one.pattern, method, CUT.get((one.module, one.name), LONGEST))
        assert found is None, f"{one.module}.{one.name}.{method}: {found}"


@pytest.mark.parametrize("evil", [r"(a+)+$", r"(a|aa)*b", r"[\w.]+@[\w-]+(?:\.[\w-]+)+", r".+@.+\..+", r"\s*x"])
def test_an_expression_that_takes_long_would_be_found(evil: str) -> None:
    assert slow(re.compile(evil), "search", LONGEST)


@pytest.mark.parametrize("glob", ["*a*a*a*a*b", "*a*?a*?a*b", "?*?*?*?*b", "*.*.*.*.x"])
@pytest.mark.parametrize("name", ["a" * 255, "a" * LONGEST, "a." * (LONGEST // 2)])
def test_no_glob_takes_long_for_any_name(glob: str, name: str) -> None:
    allowlist = Allowlist([glob])
    began = time.thread_time()
    assert name not in allowlist
    assert time.thread_time() - began < ALLOWED
