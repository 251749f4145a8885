"""Writes docs/reference: settings.md, cli.md, metrics.md, doctor.md and the tables of errors.md, from the code.

Run it as ``python docs/generate_reference.py`` whenever a setting, a command or a reason has changed: a test compares.
"""

from __future__ import annotations

import inspect
import json
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin

import click
from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from dispatcher import outcomes
from dispatcher.cli.main import main as command_line
from dispatcher.collector import openapi, reasons
from dispatcher.collector.handover import HandoverRoute
from dispatcher.collector.routes import Routes
from dispatcher.config import DestinationSettings, Settings
from dispatcher.config.collector import CollectorSettings, SourceSettings
from dispatcher.config.destination_types import TYPES_GROUP
from dispatcher.config.variables import variable_name
from dispatcher.destinations.base import BaseDestination, Options
from dispatcher.destinations.types import load_type
from dispatcher.doctor import AREAS
from dispatcher.monitoring.metrics import DEFINITIONS

_DIRECTORY: Final = Path(__file__).resolve().parent / "reference"
_PROJECT: Final = _DIRECTORY.parents[1] / "pyproject.toml"
_WRITTEN_BY: Final = "<!-- Written by docs/generate_reference.py. Change the code, not this page. -->"

# What a destination's own table is called in the page where any name may stand.
_ANY_DESTINATION: Final = "NAME"

_TYPES: Final = {
    str: "text",
    SecretStr: "text, a credential",
    bool: "true or false",
    int: "whole number",
    float: "number",
    Path: "path",
}
_BOUNDS: Final = {"gt": "above {}", "ge": "at least {}", "lt": "below {}", "le": "at most {}"}
# Defaults that depend on the machine or on another setting.
_COMPUTED_DEFAULTS: Final = {
    "state_directory": "`~/.local/state/dispatcher`",
    "type": "the table's name",
}

_SETTINGS_TOP: Final = """\
# Settings

Three layers, each laid over the one before it:

1. `base.toml`: what holds everywhere.
2. `ENVIRONMENT.toml`: the file of the environment that `DISPATCHER_ENV` names; `development` when it is not set.
3. Variables: `DISPATCHER_` and the setting's path in capitals, joined by two underscores. `outbox.max_bytes` is
   `DISPATCHER_OUTBOX__MAX_BYTES`. Lists and tables are written as JSON. An empty variable counts as not set.

What `dispatcher.configure(...)` says in code wins over all three.

`DISPATCHER_SETTINGS` names another place for the files: a directory, whose `base.toml` is optional, or one `.toml` file
that takes the environment's place. Without it the files that come with dispatcher are read.

`dispatcher settings show` prints every value and its source. `dispatcher settings check` names every mistake at once.
A wrong or unknown setting stops every command with exit code 3.

`~` and `$NAME` are replaced in paths, and `$$` is a dollar sign. In a variable a path must not be relative.

OpenTelemetry's own variables, `OTEL_…`, are read beside these: [OpenTelemetry](../how-to/opentelemetry.md) has them.

Blanks, line ends and invisible characters around variables and credentials are taken off. A credential in quotation
marks, or with a line end in it, is refused.
"""


_METRICS_TOP: Final = """\
# Metrics

What [`dispatcher exporter`](cli.md#dispatcher-exporter) serves as `/metrics`, in Prometheus' text format.
[Monitoring](../how-to/monitoring.md) says how to collect it, and what to alert on. The same is pushed over OTLP where
[OpenTelemetry](../how-to/opentelemetry.md)'s variables say so.

- Times are in seconds, sizes in bytes, all other numbers count events, batches or what the name says.
- Every exporter sees the same batch store, so take `max by (destination)`, not a sum over exporters. The
  metrics of outboxes are those of the exporter's machine.
- `destination="emit"` has the events that emit could not take; it has accepted, dead and filtered events only.
- A gauge that counts nothing is 0, unless it says that it is absent. Counters start again with an empty Redis.
"""


_DOCTOR_TOP: Final = """\
# Doctor

What [`dispatcher doctor`](cli.md#dispatcher-doctor) checks, and the remedy for each finding. It changes nothing, sends
no event and shows no credential. It asks workers as Celery's own `inspect` does.

```sh
dispatcher doctor
dispatcher doctor --only redis --only workers
dispatcher doctor --quick --strict --json
```

- `✗` an error: events are lost or held up, or will be. Exit code 1.
- `!` a warning: that may happen. Exit code 1 with `--strict` only.
- `·` a note: good to know, or something that could not be checked.
- `✓` all is well.

Run it where the web app runs, as its user, for outboxes and settings files; and where workers run, as their user, for
the tracking log and for what can be reached. `--quick` connects to no destination, asks no worker, and does not wait
for a relay to notice an outbox.
"""

_COLLECTOR_TOP: Final = """\
# Collector

What [`dispatcher collector`](cli.md#dispatcher-collector) takes and answers. [How to use it](../how-to/collector.md) is
another page. A running collector serves the same as `/openapi.json`, for its settings; for the default settings it is
[openapi.json](openapi.json).

- A status of 4xx is final, but for 408 and 429: the same request will never be taken. 408, 429 and 503 pass; 429 and
  503 say in `Retry-After` after how many whole seconds.
- Each code is the `reason` of a counter: `dispatcher_collector_refused_total`, or `dispatcher_collector_rejected_total`
  for one item of a request.
- Of an object with the same key twice the last one counts. Half of a surrogate pair, and bytes that are not UTF-8,
  become U+FFFD. Null characters stay in data, and are refused in names and ids.
- A time of the future becomes the time of the request; one of the past stays, as far as the client's own `sentAt` says
  that its clock is right. Times that are none are not read.
- `/event` answers `success`, a pixel its image and the mobile webhook nothing also where the event is rejected: those
  clients read no answer. The counters have it.
"""

# What replaces the facts of a finding in a remedy.
_FACTS: Final = {
    "name": "NAME",
    "variable": "the variable that the finding names",
    "directory": "DIRECTORY",
    "file": "FILE",
    "path": "PATH",
    "host": "HOST",
    "seconds": "SECONDS",
    "rights": "go-rwx",
    "then": "replay or drop",
}

# What stands around the tables of reasons in errors.md.
_REASONS_START: Final = (
    "<!-- The tables of reasons: written by docs/generate_reference.py from dispatcher/outcomes.py. -->"
)
_REASONS_END: Final = "<!-- The end of the tables. -->"
_REASONS: Final = (
    (
        "Not taken",
        'Dead letters of events that got no further than emit, so they belong to no destination: the row "(not taken)" '
        "of\n`dispatcher status`, and `emit` in its JSON.",
        outcomes.NOT_TAKEN_REASONS,
    ),
    ("Dead", "Dead letters of one destination.", outcomes.DEAD_REASONS),
    ("Filtered", "Events that were left out on purpose, and are counted.", outcomes.FILTERED_REASONS),
    ("Not routed", "What only `dispatcher explain` shows; nothing is counted.", outcomes.ROUTING_REASONS),
)


def pages() -> dict[Path, str]:
    """What each page should be."""
    return {
        _DIRECTORY / "settings.md": _settings_page(),
        _DIRECTORY / "cli.md": _cli_page(),
        _DIRECTORY / "metrics.md": _metrics_page(),
        _DIRECTORY / "doctor.md": _doctor_page(),
        _DIRECTORY / "errors.md": _errors_page(),
        _DIRECTORY / "collector.md": _collector_page(),
        _DIRECTORY / "openapi.json": f"{json.dumps(_openapi(), indent=2, ensure_ascii=False)}\n",
    }


def _settings_page() -> str:
    parts = [_WRITTEN_BY, _SETTINGS_TOP, "## Top level\n", _table(Settings, ())]
    for name, field in Settings.model_fields.items():
        model = _model_of(field)
        if model is not None:
            parts += [f"## [{name}]\n", f"{_first_line(model)}\n", _table(model, (name,))]
    parts += [
        f"## [sources.{_ANY_DESTINATION}]\n",
        f"{_first_line(SourceSettings)} `{_ANY_DESTINATION}` is yours to choose, as of a destination.\n",
        _table(SourceSettings, ("sources", _ANY_DESTINATION)),
    ]
    own = ("destinations", _ANY_DESTINATION)
    parts += [
        f"## [destinations.{_ANY_DESTINATION}]\n",
        f"{_first_line(DestinationSettings)} `{_ANY_DESTINATION}` is yours to choose: lower-case letters, digits and "
        "`_`, beginning with a letter. It is also the name of the Celery queue. Some types have other defaults: their "
        "sections below say which.\n",
        _table(DestinationSettings, own),
    ]
    for name, field in DestinationSettings.model_fields.items():
        model = _model_of(field)
        if model is not None:
            section = f"destinations.{_ANY_DESTINATION}.{name}"
            parts += [f"## [{section}]\n", f"{_first_line(model)}\n", _table(model, (*own, name))]
        elif (model := _item_model_of(field)) is not None:
            section = f"destinations.{_ANY_DESTINATION}.{name}"
            variable = f"Variable: `{variable_name((*own, name))}`, the whole list.\n"
            parts += [f"## [[{section}]]\n", f"{_first_line(model)}\n", *_rows(model), "", variable]
    # Those of this checkout, which may be newer than what is installed of it.
    for name, path in sorted(tomllib.loads(_PROJECT.read_text())["project"]["entry-points"][TYPES_GROUP].items()):
        parts += _type_section(name, load_type(path))
    return "\n".join(parts)


def _type_section(name: str, loaded: type[BaseDestination[Options]]) -> Iterator[str]:
    traits, options = loaded.traits, loaded.Options
    yield f'## Options of type = "{name}"\n'
    if options.model_fields:
        yield "In the destination's own table.\n"
        yield _table(options, ("destinations", _ANY_DESTINATION), traits.paths)
    else:
        yield "None beyond those of every destination.\n"
    if traits.takes_all_events:
        yield "It gets every event while its table has no `events`.\n"
    if traits.defaults:
        defaults = (f"`{key} = {_value_text(value).strip('`')}`" for key, value in _flattened((), traits.defaults))
        yield f"Other defaults than above: {', '.join(defaults)}.\n"
    if traits.refuses:
        yield f"It takes none of these keys: {', '.join(f'`{key}`' for key in traits.refuses)}.\n"


def _flattened(path: tuple[str, ...], value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flattened((*path, key), inner)
    else:
        yield ".".join(path), value


def _table(model: type[BaseModel], path: tuple[str, ...], files: Mapping[str, str | None] | None = None) -> str:
    example = next(iter(model.model_fields)) if path else "broker_url"
    return "\n".join([*_rows(model, files), "", f"Variable: `{variable_name((*path, example))}`, and so on.", ""])


def _rows(model: type[BaseModel], files: Mapping[str, str | None] | None = None) -> list[str]:
    described = _described_arguments(model)
    lines = ["| setting | takes | default | meaning |", "|---|---|---|---|"]
    for name, field in model.model_fields.items():
        if _model_of(field) is not None or _item_model_of(field) is not None:
            continue
        if model is Settings and name in ("environment", "destinations", "sources"):
            continue
        meaning = field.description or described.get(name, "")
        file = (files or {}).get(name)
        default = _default(name, field) if file is None else f"`{file}` in the state directory"
        cells = (f"`{name}`", _takes(field), default, meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|").replace("<", "\\<") for cell in cells) + " |")
    return lines


def _model_of(field: FieldInfo) -> type[BaseModel] | None:
    annotation = field.annotation
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _item_model_of(field: FieldInfo) -> type[BaseModel] | None:
    """Of a list of tables, the model of each."""
    item = next(iter(get_args(field.annotation)), None) if get_origin(field.annotation) is tuple else None
    return item if isinstance(item, type) and issubclass(item, BaseModel) else None


def _takes(field: FieldInfo) -> str:
    bounds = [
        pattern.format(f"{value:,}")
        for part in field.metadata
        for bound, pattern in _BOUNDS.items()
        if (value := getattr(part, bound, None)) is not None
    ]
    return ", ".join([_type_text(field.annotation), *bounds])


def _type_text(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return " or ".join(f'`"{value}"`' for value in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "list of text"
    if get_origin(annotation) is Mapping:
        return "table"
    inner = [part for part in get_args(annotation) if part is not NoneType]
    return _type_text(inner[0]) if inner else _TYPES[annotation]


def _default(name: str, field: FieldInfo) -> str:
    if name in _COMPUTED_DEFAULTS:
        return _COMPUTED_DEFAULTS[name]
    if field.is_required():
        return "required"
    return _value_text(field.get_default(call_default_factory=True))


def _value_text(value: Any) -> str:
    if value is None or value == {}:
        return "not set"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return "`[" + ", ".join(f'"{item}"' for item in value) + "]`"
    return f"`{value:_}`" if isinstance(value, int) else f"`{value:g}`" if isinstance(value, float) else f'`"{value}"`'


def _first_line(model: type[BaseModel]) -> str:
    return (inspect.getdoc(model) or "").partition("\n\n")[0].replace("\n", " ").replace("``", "`")


def _described_arguments(model: type[BaseModel]) -> dict[str, str]:
    """The descriptions in the ``Args`` of a docstring, for options that have none of their own."""
    found: dict[str, str] = {}
    name = ""
    for line in (inspect.getdoc(model) or "").partition("Args:\n")[2].splitlines():
        start = re.match(r" {4}(\w+): (.*)", line)
        if start:
            name = start[1]
            found[name] = start[2]
        elif name and line.strip():
            found[name] += f" {line.strip()}"
    return {key: text.replace("``", "`") for key, text in found.items()}


def _cli_page() -> str:
    lead = [_WRITTEN_BY, "# Command line\n", *_help_text(command_line), "The options come after the command's name.\n"]
    commands = [(name, command) for name, command in _walk("dispatcher", command_line) if command is not command_line]
    index = [
        f"- [`{name}`](#{name.replace(' ', '-')}): {command.get_short_help_str(200)}" for name, command in commands
    ]
    return "\n".join([*lead, *index, "", *(part for name, command in commands for part in _command(name, command))])


def _metrics_page() -> str:
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    for metric in DEFINITIONS:
        labels = ", ".join(f"`{label}`" for label in metric.labels)
        lines.append(f"| `{metric.name}` | {metric.type} | {labels} | {metric.help} |")
    return "\n".join([_WRITTEN_BY, _METRICS_TOP, *lines, ""])


def _doctor_page() -> str:
    parts = [_WRITTEN_BY, _DOCTOR_TOP]
    for area in AREAS:
        parts += [f"## {area.title}\n", f"`--only {area.name}`\n"]
        parts += ["| check | what it checks | remedy |", "|---|---|---|"]
        for check in area.checks:
            remedy = check.remedy.format_map(_FACTS)
            parts.append(f"| `{check.name}` | {check.description} | {remedy[0].upper()}{remedy[1:]}. |")
        parts.append("")
    return "\n".join(parts)


def _errors_page() -> str:
    text = (_DIRECTORY / "errors.md").read_text()
    before, start, rest = text.partition(_REASONS_START)
    _, end, after = rest.partition(_REASONS_END)
    tables = [
        line
        for title, what, reasons in _REASONS
        for line in (
            f"### {title}",
            "",
            what,
            "",
            "| reason | meaning |",
            "|---|---|",
            *(f"| `{reason}` | {meaning} |" for reason, meaning in reasons.items()),
            "",
        )
    ]
    return "\n".join([f"{before}{start}", "", *tables, f"{end}{after}"])


def _openapi() -> dict[str, Any]:
    settings = CollectorSettings(mobile_secret=SecretStr("any"))
    handover = HandoverRoute(Settings(collector=settings), b"any", lambda: False)
    return openapi.describe(settings, Routes(settings, handover))


def _collector_page() -> str:
    lines = [_WRITTEN_BY, _COLLECTOR_TOP, "## Paths\n", "| path | methods | takes |", "|---|---|---|"]
    rows: dict[tuple[str, str], list[str]] = {}
    for path, operations in _openapi()["paths"].items():
        methods = ", ".join(method.upper() for method in operations)
        meaning = next(iter(operations.values())).get("description", "") or "For balancers and tools."
        rows.setdefault((methods, " ".join(meaning.split())), []).append(f"`{path}`")
    lines += [f"| {', '.join(paths)} | {methods} | {meaning} |" for (methods, meaning), paths in rows.items()]
    lines += ["", "## Refused\n", "Nothing of the request is taken.\n", "| status | code | meaning |", "|---|---|---|"]
    lines += [f"| {status or 'none'} | `{code}` | {text} |" for code, (status, text) in reasons.REFUSED.items()]
    lines += ["", "## Rejected\n", "One item is not taken; the others are, and the answer is 200.\n"]
    lines += ["| code | meaning |", "|---|---|"]
    lines += [f"| `{code}` | {text} |" for code, text in reasons.REJECTED.items()]
    return "\n".join([*lines, ""])


def _walk(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for inner, child in command.commands.items():
            if not child.hidden:
                yield from _walk(f"{name} {inner}", child)


def _command(name: str, command: click.Command) -> Iterator[str]:
    arguments = [p for p in command.params if isinstance(p, click.Argument)]
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    usage = [
        name,
        *(["[OPTIONS]"] if options else []),
        *(_argument(argument) for argument in arguments),
        *(["COMMAND"] if isinstance(command, click.Group) else []),
    ]
    yield f"## {name}\n"
    yield f"```text\n{' '.join(usage)}\n```\n"
    yield from _help_text(command)
    if options:
        yield "| option | default | meaning |\n|---|---|---|"
        for option in options:
            yield f"| {_spelling(option)} | {_option_default(option)} | {_meaning(option)} |"
        yield ""


def _argument(argument: click.Argument) -> str:
    name = (argument.name or "").upper()
    return name if argument.required else f"[{name}]"


def _spelling(option: click.Option) -> str:
    names = ", ".join(f"`{spelling}`" for spelling in (*option.opts, *option.secondary_opts))
    return names if option.is_flag else f"{names} {option.metavar or _value(option.type)}"


def _value(parameter: Any) -> str:
    checks: list[tuple[Any, Callable[[Any], str]]] = [
        (click.Choice, lambda choice: " or ".join(f"`{name}`" for name in choice.choices)),
        (click.types.IntParamType, lambda _: "N"),
        (click.types.FloatParamType, lambda _: "SECONDS"),
        (click.Path, lambda _: "FILE"),
    ]
    return next((text(parameter) for known, text in checks if isinstance(parameter, known)), "TEXT")


def _option_default(option: click.Option) -> str:
    # A flag is off, and what has no default says in its meaning what happens then.
    return f"`{option.default}`" if option.show_default else ""


def _meaning(option: click.Option) -> str:
    variable = f" Also `{option.envvar}`." if option.show_envvar else ""
    required = " Required." if option.required and "Required" not in (option.help or "") else ""
    return f"{option.help or ''}{required}{variable}".strip()


def _help_text(command: click.Command) -> Iterator[str]:
    """The help as paragraphs; what stands behind click's mark against rewrapping becomes a block."""
    for paragraph in inspect.cleandoc(command.help or "").split("\n\n"):
        if not paragraph.startswith("\b\n"):
            yield f"{paragraph}\n"
            continue
        lines = paragraph.removeprefix("\b\n").split("\n")
        heading = [] if lines[0].startswith(" ") else [lines.pop(0)]
        yield from (f"{line}\n" for line in heading)
        yield f"```text\n{inspect.cleandoc(chr(10).join(lines))}\n```\n"


def main() -> None:
    """Write the pages."""
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


if __name__ == "__main__":
    main()
