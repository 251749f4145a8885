"""``dispatcher doctor``: check a deployment, with a remedy for each finding."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

import click
from rich.padding import Padding
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from dispatcher.doctor import AREAS, FLOWER_ADDRESS, Area, Finding, Level, examine
from dispatcher.secrecy.terminal import Console

_FAILED: Final = 1
_LEVELS: Final[tuple[Level, ...]] = ("error", "warning", "note", "ok")
_MARKS: Final[dict[Level, tuple[str, str]]] = {
    "ok": ("✓", "green"),
    "note": ("·", "blue"),
    "warning": ("!", "yellow"),
    "error": ("✗", "red"),
}


@click.command()
@click.option(
    "--only",
    type=click.Choice([area.name for area in AREAS]),
    multiple=True,
    help="Check only this area. May be given several times.",
)
@click.option(
    "--quick", is_flag=True, help="Leave out what takes seconds: connect to no destination, and ask no worker."
)
@click.option("--problems", is_flag=True, help="Show only warnings and errors, the errors last.")
@click.option("--strict", is_flag=True, help="Exit with 1 for warnings too.")
@click.option("--flower", "flower_address", default=FLOWER_ADDRESS, show_default=True, help="The address of Flower.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as JSON.")
def doctor(
    only: tuple[str, ...], quick: bool, problems: bool, strict: bool, flower_address: str, as_json: bool
) -> None:
    """Check this deployment, before and during use. Each finding comes with a remedy.

    It changes nothing, sends no event and shows no credential, and works without Redis too. It sees the machine that it
    runs on: run it as the web app's user on web machines, and as the worker's user where workers run.

    \b
    Examples:
      dispatcher doctor
      dispatcher doctor --problems
      dispatcher doctor --only redis --only workers
      dispatcher doctor --strict --json | jq '.findings[] | select(.level == "error")'

    Exit code 1 for any error (with --strict, for any warning too), else 0; wrong settings are errors. What --problems
    leaves out changes nothing about that.
    """
    findings = _examine(only=only, quick=quick, flower_address=flower_address)
    levels = Counter(finding.level for finding in findings)
    failed = bool(levels["error"] or (strict and levels["warning"]))
    if problems:
        # The worst of it last, where the eye is once a long list has passed.
        findings = [finding for level in ("warning", "error") for finding in findings if finding.level == level]
    if as_json:
        counts = {level: levels[level] for level in _LEVELS}
        click.echo(
            json.dumps({"ok": not failed, "counts": counts, "findings": [asdict(each) for each in findings]}, indent=2)
        )
    else:
        _print(findings, levels, by_area=not problems)
    raise SystemExit(_FAILED if failed else 0)


def _examine(*, only: Sequence[str], quick: bool, flower_address: str) -> list[Finding]:
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("Settings", total=len(only) or len(AREAS))

        def begin(area: Area) -> None:
            progress.update(task, description=area.title, advance=0 if area is AREAS[0] else 1)

        return examine(os.environ, only=only, quick=quick, flower_address=flower_address, begin=begin)


def _print(findings: Sequence[Finding], levels: Counter[Level], *, by_area: bool) -> None:
    console = Console(highlight=False)
    for finding in () if by_area else findings:
        _print_one(console, finding)
    for area in AREAS if by_area else ():
        in_area = [finding for finding in findings if finding.area == area.name]
        if not in_area:
            continue
        console.print(Text(area.title, style="bold"))
        for finding in in_area:
            _print_one(console, finding)
    parts = [(f"{levels[level]} {_plural(level, levels[level])}", _MARKS[level][1]) for level in _LEVELS]
    console.print(Text(", ").join(Text(text, style=style) for text, style in parts))


def _print_one(console: Console, finding: Finding) -> None:
    mark, style = _MARKS[finding.level]
    # As Text everywhere: brackets in a path would otherwise be taken for markup.
    line = Text.assemble((mark, style), " ", (finding.check, "dim" if finding.level == "ok" else "bold"), "  ")
    console.print(Padding(line.append(finding.what), (0, 0, 0, 2)))
    if finding.remedy:
        console.print(Padding(Text(f"→ {finding.remedy}"), (0, 0, 0, 6)))


def _plural(level: Level, number: int) -> str:
    return level if number == 1 or level == "ok" else f"{level}s"
