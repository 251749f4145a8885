"""Attack a real site at random: ``python -m tests.fuzz``, in the checkout, with ``pip install -e '.[fuzz]'``.

It starts a collector with Redis, relay, worker and tracking log. Hostile clients send bytes that are HTTP in part,
and requests with bodies, queries and headers of which something is wrong; schemathesis, where it is installed, sends
what the OpenAPI description says and does not say. Meanwhile a good client sends good events.

It exits with 1 where an answer was a 5xx other than 503 with Retry-After, or was none, or not as it is described; where
a process ended, logged an error or grew; and where a good event that was acknowledged is not in the log, or twice.

\b
    python -m tests.fuzz --minutes 10
    python -m tests.fuzz --target board            the board, with its login and without it
    python -m tests.fuzz --seed 5 --case 1234      one attack again, with what came of it
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from random import SystemRandom
from typing import Final

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.fuzz.board_target import open_board_target
from tests.fuzz.fuzzing import Finding, Fuzzer, Report
from tests.fuzz.schema import is_installed, run_schemathesis
from tests.fuzz.target import Target, open_collector

#: What can be attacked, by name.
TARGETS: Final[dict[str, Callable[[Path], AbstractContextManager[Target]]]] = {
    "collector": open_collector,
    "board": open_board_target,
}
# How much of the time schemathesis gets.
_SCHEMA_FRACTION = 0.4


@click.command(help=__doc__)
@click.option("--minutes", type=click.FloatRange(0.05), default=5, show_default=True, help="How long it attacks.")
@click.option("--seed", type=int, help="Repeat the attacks of an earlier run, which printed its seed at the end.")
@click.option("--case", "cases", type=int, multiple=True, metavar="N", help="Only this attack of --seed. Repeatable.")
@click.option(
    "--target", "name", type=click.Choice(list(TARGETS)), default="collector", show_default=True, help="What to attack."
)
@click.option("--schema/--no-schema", default=None, help="With schemathesis; by default where it is installed.")
@click.option(
    "--memory-mib", type=click.IntRange(1), default=64, show_default=True, help="How much its memory may grow, in MiB."
)
def main(
    minutes: float, seed: int | None, cases: tuple[int, ...], name: str, schema: bool | None, memory_mib: int
) -> None:
    """Attack, print."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=200)
    if schema and not is_installed():
        raise click.ClickException("schemathesis is not installed: `pip install -e '.[fuzz]'` does it")
    if cases and seed is None:
        raise click.UsageError("--case needs the --seed of the run that printed it")
    # Only the collector has a description.
    has_schema = name == "collector" and (is_installed() if schema is None else schema)
    seed = SystemRandom().randrange(1 << 32) if seed is None else seed
    with tempfile.TemporaryDirectory(prefix="dispatcher-fuzz-") as directory, TARGETS[name](Path(directory)) as target:
        fuzzer = Fuzzer(target, seed=seed, max_growth_bytes=memory_mib << 20)
        if cases:
            for number in cases:
                _show(console, fuzzer, number)
        else:
            if not has_schema and name == "collector":
                console.print("without schemathesis: `pip install -e '.[fuzz]'` installs it", markup=False)
            _attack(console, fuzzer, target, 60 * minutes, has_schema=has_schema)
        report = fuzzer.finish()
    _print(console, report, name)
    raise SystemExit(1 if report.findings else 0)


def _attack(console: Console, fuzzer: Fuzzer, target: Target, seconds: float, *, has_schema: bool) -> None:
    own_seconds = seconds * (1 - _SCHEMA_FRACTION) if has_schema else seconds
    columns = (BarColumn(30), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("", total=seconds)

        def say(done: int, found: int) -> None:
            passed = min(own_seconds, progress.tasks[0].elapsed or 0)
            progress.update(task, completed=passed, description=f"{done:,} attacks, {found} findings")

        fuzzer.attack(own_seconds, say)
        if has_schema:
            progress.update(task, description="schemathesis asks by the description")
            left, seed = seconds - own_seconds, fuzzer.report.seed
            stories = run_schemathesis(target.port, seed=seed, seconds=left, headers=target.headers)
            fuzzer.report.findings += [Finding(story, kind="schemathesis") for story in stories]
            progress.update(task, completed=seconds)


def _show(console: Console, fuzzer: Fuzzer, number: int) -> None:
    attack, result = fuzzer.play(number)
    console.print(f"case {number}, {attack.kind}: {len(attack.parts)} parts, then {attack.end}")
    for part in attack.parts[:20]:
        console.print(f"  > {part[:2_000]!r}", markup=False, highlight=False)
    for answer in result.answers:
        console.print(f"  < {answer.status} {answer.headers} {answer.body[:1_000]!r}", markup=False, highlight=False)
    console.print(
        f"  {result.error or 'then nothing'}; {len(result.rest)} bytes are left, {result.seconds:.2f} s", markup=False
    )


def _print(console: Console, report: Report, name: str) -> None:
    for finding in report.findings:
        console.print(f"[red]finding[/] {escape(finding.story)}", highlight=False)
        if finding.number is not None:
            console.print(f"  {finding.kind}: {finding.sent!r}", markup=False, highlight=False)
            repeat = f"python -m tests.fuzz --target {name} --seed {report.seed} --case {finding.number}"
            console.print(f"  again: {repeat}", markup=False, highlight=False)
    statuses = ", ".join(f"{status}: {count:,}" for status, count in sorted(report.statuses.items()))
    console.print(f"{sum(report.attacks.values()):,} attacks; answers: {statuses or 'none'}", highlight=False)
    for note in (*report.notes, f"the memory grew by {report.grown_bytes / (1 << 20):.1f} MiB"):
        console.print(note, highlight=False)
    found = f"[red]{len(report.findings)} findings[/]" if report.findings else "no findings"
    console.print(f"seed {report.seed}; {found}")


if __name__ == "__main__":
    main(prog_name="python -m tests.fuzz")
