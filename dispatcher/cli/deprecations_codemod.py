"""``dispatcher deprecations codemod``: rewrite calls of Logger in scripts, pages and course content."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from dispatcher.installation.extras import install_command
from dispatcher.monitoring.units import count_text
from dispatcher.secrecy.terminal import Console


@click.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--write", is_flag=True, help="Write the changes into the files, instead of printing them as a diff.")
def codemod(paths: tuple[Path, ...], write: bool) -> None:
    """Rewrite Logger.log, log_event and Logger.listen in the files and directories PATHS.

    It reads scripts (.js .jsx .mjs .cjs .ts .tsx), and the scripts and handlers of pages (.html .mako .underscore .ejs
    .vue .svelte) and of exported courses (.xml, .html), also between the words of templates, in CDATA, and escaped. It
    changes a call where that is sure, and nothing else in the file: no comment, no text, no line ending. Each other
    call is named on standard error, with its line and why it stays. It leaves out node_modules, minified files and
    links.

    \b
    Examples:
      dispatcher deprecations codemod lms/static common/templates
      dispatcher deprecations codemod course-export | less
      dispatcher deprecations codemod course-export --write

    Exit code 1 if calls are left: those that it cannot rewrite, and without --write those that it would.
    """
    if find_spec("tree_sitter") is None:
        raise click.ClickException(f"the codemod is not installed: {install_command('codemod')}")
    from dispatcher.collector.deprecations.codemod.source_file import find_files, read_file  # noqa: PLC0415 - the extra

    files = list(find_files(paths))
    calls = changed = failed = 0
    kept: list[str] = []
    columns = (TextColumn("reading"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=len(files) < 50) as progress:
        for path in progress.track(files):
            file = read_file(path)
            if file.is_changed:
                try:
                    if write:
                        file.write()
                    else:
                        click.echo(file.diff(), nl=False)
                    calls, changed = calls + file.calls, changed + 1
                except OSError as error:
                    failed += 1
                    kept.append(f"{path}: it cannot be written: {error.strerror}")
            # A file that was named, or a place in one.
            for one in file.kept:
                place = f"{path}:{one.line}" if one.line else str(path)
                kept.append(f"{place}: {one.call}: {one.why}" if one.call else f"{place}: {one.why}")
    for line in kept:
        click.echo(line, err=True)
    verb = "rewritten" if write else "would be rewritten"
    read = count_text(len(files), "file")
    click.echo(f"{count_text(calls, 'call')} in {count_text(changed, 'file')} {verb}, of {read} read", err=True)
    if kept:
        click.echo(f"{count_text(len(kept), 'place')} left to you, named above", err=True)
    if calls and not write:
        click.echo("nothing is changed yet: --write does it", err=True)
    raise SystemExit(1 if kept or (calls and not write) else 0)
