"""Markdown: fills in the tables of a page that stand between ``<!-- bench ROW -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tests.benchmarks.emitters import TITLES
from tests.benchmarks.report import columns, number, ratio, title
from tests.benchmarks.summary import Row
from tests.benchmarks.targets import Target

# What a page need not say.
_LEFT_OUT: Final = frozenset({"calls", "events", "max_us"})
_MARKED: Final = re.compile(r"(?P<head><!-- bench (?P<name>\w+) -->\n)(?P<body>.*?)(?P<end><!-- end -->)", re.DOTALL)


def fill(page: Path, rows: Sequence[Row], found: Sequence[Target], run: Mapping[str, Any]) -> list[str]:
    """Replace what stands between the marks of rows that were measured, of ``targets`` and of ``run``; leave all else.

    Args:
        run: What ``report.as_json`` says about the run.

    Returns:
        The names that were filled in.
    """
    filled: list[str] = []

    def replace(match: re.Match[str]) -> str:
        name = match["name"]
        measured = [one for one in found if one.measured is not None]
        of_name = [row for row in rows if row.measurement == name]
        if name == "targets" and measured:
            table = _target_table(measured)
        elif name == "run":
            table = _sentence(run)
        elif of_name:
            table = _table(of_name)
        else:
            return match[0]
        filled.append(name)
        return f"{match['head']}\n{table}\n{match['end']}"

    page.write_text(_MARKED.sub(replace, page.read_text()))
    return filled


def _sentence(run: Mapping[str, Any]) -> str:
    built = "optimised" if "--enable-optimizations" in str(run["python_built"]) else "built without optimisations"
    packages = ", ".join(f"{name} {version}" for name, version in run["packages"].items() if version)
    text = (
        f"Measured on {run['at'][:10]} at {run['commit']}: {run['cores']} processors, CPython {run['python']} "
        f"({built}), {packages}."
    )
    return "\n".join(textwrap.wrap(text, 120)) + "\n"


def _table(rows: Sequence[Row]) -> str:
    names = [name for name in columns(rows) if name not in _LEFT_OUT]
    lines = [["what", "case", *map(title, names), "times ours"]]
    for row in rows:
        cells = [number(row.metrics.get(name)) for name in names]
        if row.note:
            cells[0] = row.note
        lines.append([TITLES[row.subject], row.case, *cells, ratio(row, rows)])
    return _lines(lines)


def _target_table(found: Sequence[Target]) -> str:
    words = {True: "✓", False: "**✗**", None: ""}
    lines = [["what", "target", "measured", "reached"]]
    for one in found:
        unit = f" {one.unit}"
        lines.append(
            [one.name, f"{one.kind} {number(one.wanted)}{unit}", number(one.measured) + unit, words[one.reached]]
        )
    return _lines(lines)


def _lines(rows: Sequence[Sequence[str]]) -> str:
    head, *rest = rows
    ruled = [head, ["---"] * len(head), *rest]
    return "".join(f"| {' | '.join(row)} |\n" for row in ruled)
