"""Markdown: fills in the tables of a page that stand between ``<!-- bench ROW -->`` and ``<!-- end -->``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.benchmarks.emitters import TITLES
from tests.benchmarks.report import columns, number, ratio, title
from tests.benchmarks.summary import Row
from tests.benchmarks.targets import Target

_MARKED: Final = re.compile(r"(?P<head><!-- bench (?P<name>\w+) -->\n)(?P<body>.*?)(?P<end><!-- end -->)", re.DOTALL)


def fill(page: Path, rows: Sequence[Row], found: Sequence[Target]) -> list[str]:
    """Replace what stands between the marks of measurements that have rows, and of ``targets``; leave all else.

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
        elif of_name:
            table = _table(of_name)
        else:
            return match[0]
        filled.append(name)
        return f"{match['head']}\n{table}\n{match['end']}"

    page.write_text(_MARKED.sub(replace, page.read_text()))
    return filled


def _table(rows: Sequence[Row]) -> str:
    names = columns(rows)
    lines = [["what", "case", *map(title, names), "times ours"]]
    for row in rows:
        cells = [number(row.metrics.get(name)) for name in names]
        if row.note:
            cells[0] = row.note
        lines.append([TITLES[row.subject], row.case, *cells, ratio(row, rows)])
    return _lines(lines)


def _target_table(found: Sequence[Target]) -> str:
    words = {True: "yes", False: "**no**", None: ""}
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
