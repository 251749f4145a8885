"""The documentation is true: its examples run, its links work, and what it names exists."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
import tomllib
from array import array
from collections import ChainMap, OrderedDict, UserDict, deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from fractions import Fraction
from ipaddress import ip_address
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any, Final, NamedTuple
from uuid import UUID

import click
import numpy
import pendulum
import pytest
from click.testing import CliRunner
from django.utils.functional import SimpleLazyObject, lazy
from pydantic import BaseModel

from dispatcher import NotEncodableError, config, errors, tracker
from dispatcher.cli.main import EXIT_ERROR, EXIT_SETTINGS, EXIT_UNAVAILABLE, main
from dispatcher.config.collector import SourceSettings
from dispatcher.config.destination import DestinationSettings
from dispatcher.config.schema import Settings
from dispatcher.destinations.options import check_options
from dispatcher.destinations.types import load_type
from dispatcher.edx_log.render import renderer
from dispatcher.event import decode
from dispatcher.outbox import MemoryOutbox
from dispatcher.tasks.destinations.segment import to_message
from dispatcher.tasks.destinations.tracking_log import TrackingLogOptions
from dispatcher.testing import capture
from dispatcher.tracker import Tracker

ROOT: Final = Path(__file__).resolve().parents[3]
README: Final = ROOT / "README.md"
PAGES: Final = (README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md")))
# The types of this checkout, which may be newer than what is installed of it.
OWN_TYPES: Final[dict[str, str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][
    "dispatcher.destinations"
]

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
_VARIABLE: Final = re.compile(r"\bDISPATCHER_[A-Z0-9_]+\b")

# What no setting is called: the three that choose the files, and an example of what Kubernetes sets.
_NO_SETTINGS: Final = {
    "DISPATCHER_ENV",
    "DISPATCHER_SETTINGS",
    "DISPATCHER_ENVIRONMENT_FILE",
    "DISPATCHER_SERVICE_HOST",
}


class Colour(Enum):
    """Stands in the table of values."""

    RED = "red"


@dataclass(frozen=True)
class Point:
    """Stands in the table of values."""

    x: int
    y: int


class Size(IntEnum):
    """Stands in the table of values."""

    LARGE = 3


class Pair(NamedTuple):
    """Stands in the table of values."""

    left: int
    right: int


class SafeString(str):
    """Stands in the table of values."""

    __slots__ = ()


def page(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(text: str, language: str) -> list[str]:
    return [body for kind, body in _FENCE.findall(text) if kind == language]


def without_blocks(text: str) -> str:
    return _FENCE.sub("", text)


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    """docs/generate_reference.py, which is no package's."""
    spec = importlib.util.spec_from_file_location("generate_reference", ROOT / "docs" / "generate_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_pages_match_the_code(generator: ModuleType) -> None:
    for path, text in generator.pages().items():
        assert path.read_text() == text, f"{page(path)} is stale: run `python docs/generate_reference.py`"


def test_every_setting_and_option_says_what_it_means(generator: ModuleType) -> None:
    settings_page = next(text for path, text in generator.pages().items() if path.name == "settings.md")
    rows = [line for line in settings_page.splitlines() if line.startswith("| `")]

    assert rows
    assert [row for row in rows if row.endswith("|  |")] == []


def test_the_readme_stays_short() -> None:
    assert len(README.read_text().split()) < 600


# Examples


def python_pages() -> list[Path]:
    return [path for path in PAGES if blocks(path.read_text(), "python")]


@pytest.mark.parametrize("path", python_pages(), ids=page)
def test_the_python_examples_of_a_page_run(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks marked ``python`` run one after another, as a reader would type them; ``py`` marks what is only shown."""
    examples = blocks(path.read_text(), "python")
    if any("django" in example for example in examples):
        pytest.importorskip("django")
    module = ModuleType("example")
    # Frameworks look a function's annotations up in its module.
    monkeypatch.setitem(sys.modules, "example", module)
    scope = vars(module)
    scope["tracker"] = tracker
    with capture() as captured:
        for number, example in enumerate(examples, start=1):
            exec(compile(example, f"{page(path)}, example {number}", "exec"), scope)  # noqa: S102 - our own pages
        for name, function in list(scope.items()):
            if name.startswith("test_"):
                captured.clear()
                function(captured)


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_python_that_is_only_shown_compiles(path: Path) -> None:
    for example in blocks(path.read_text(), "py"):
        compile(example, page(path), "exec")


def test_the_readmes_plain_python_example_emits_what_it_shows() -> None:
    example = next(block for block in blocks(README.read_text(), "python") if "flush" in block)

    with capture() as captured:
        exec(compile(example, "README.md", "exec"), {"__name__": "example"})  # noqa: S102 - our own page

    assert captured.names == ["shop.order.imported", "shop.order.imported", "identify"]
    assert captured.one("shop.order.imported", order=17).context == {"user_id": 42, "source": "crm"}


def test_the_readmes_plain_python_example_stays_on_disk_without_redis(
    own_state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    example = next(block for block in blocks(README.read_text(), "python") if "flush" in block)

    exec(compile(example.replace("timeout=5", "timeout=0.2"), "README.md", "exec"), {})  # noqa: S102 - our own page

    assert "the events wait on disk" in capsys.readouterr().out
    assert list((own_state / "outbox").glob("*/*.journal"))


@pytest.mark.parametrize("path", [path for path in PAGES if blocks(path.read_text(), "toml")], ids=page)
def test_the_settings_on_every_page_are_valid(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, example in enumerate(blocks(path.read_text(), "toml")):
        file = tmp_path / f"example-{number}.toml"
        file.write_text(example)
        monkeypatch.setenv("DISPATCHER_SETTINGS", str(file))
        if any(f'type = "{name}"' in example for name in OWN_TYPES.keys() - set(config.installed_types())):
            pytest.skip("the page is about a type that is not installed: make venv")

        assert check_options(config.load()) == []


# What the pages name


def links() -> Iterator[tuple[Path, str]]:
    for path in PAGES:
        for target in _LINK.findall(without_blocks(path.read_text())):
            if "://" not in target:
                yield path, target


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", without_blocks(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_relative_link_works() -> None:
    dead = []
    for path, target in links():
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        if not found.exists() or (anchor and anchor not in anchors(found)):
            dead.append(f"{page(path)}: {target}")

    assert dead == []


def test_every_page_can_be_reached_from_the_contents() -> None:
    reached = {(path.parent / target.partition("#")[0]).resolve() for path, target in links() if path != README}

    assert [page(path) for path in PAGES if path.is_relative_to(ROOT / "docs") and path not in reached] == [
        "docs/README.md"
    ]


def commands(text: str) -> Iterator[list[str]]:
    """The words of each ``dispatcher …`` in a shell block, and in code within a line."""
    lines = [line for block in blocks(text, "sh") for line in block.splitlines()]
    # The root's help is "dispatcher …" as a name of things in general.
    lines += [code for code in re.findall(r"`([^`\n]+)`", without_blocks(text)) if "…" not in code]
    for line in lines:
        words = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        words.whitespace_split = True
        try:
            yield from split_commands(list(words))
        except ValueError:  # code within a line that is no shell, with a quote of its own
            continue


def split_commands(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, ";"]:
        if set(word) <= set("|&;<>"):
            if command[:1] == ["dispatcher"]:
                yield command
            command = []
        elif command or not re.fullmatch(r"[A-Z_]+=.*", word):
            command.append(word)


def parse(words: list[str]) -> None:
    """Parse a command line as the program would, and run nothing. Raises click.ClickException."""
    command: click.Command = main
    context: click.Context | None = None
    name, *rest = words
    while True:
        try:
            context = command.make_context(name, list(rest), parent=context)
        except click.exceptions.Exit:  # --help and --version
            return
        if not isinstance(command, click.Group):
            return
        left = [*getattr(context, "_protected_args", ()), *context.args]
        if command.invoke_without_command and not left:
            return
        found_name, found, rest = command.resolve_command(context, left)
        assert found is not None
        name, command = found_name or "", found


def names_a_command(words: list[str]) -> bool:
    """Whether they are no more than a command's name, by which it is spoken of."""
    command: click.Command | None = main
    for word in words[1:]:
        command = command.commands.get(word) if isinstance(command, click.Group) else None
    return command is not None


@pytest.mark.parametrize("path", PAGES, ids=page)
def test_every_command_line_on_a_page_is_valid(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("event.json", "recorded.jsonl", "tracking.log", "tracking.log-20260131.gz"):
        (tmp_path / name).touch()
    (tmp_path / "events").mkdir()
    monkeypatch.setenv("FLOWER_BASIC_AUTH", "ops:secret")
    wrong = []
    for words in commands(path.read_text()):
        if len(words) == 1:
            continue
        try:
            parse(words)
        except (click.MissingParameter, click.exceptions.NoArgsIsHelpError) as error:
            if not names_a_command(words):
                wrong.append(f"{shlex.join(words)}: {error.format_message()}")
        except click.ClickException as error:
            wrong.append(f"{shlex.join(words)}: {error.format_message()}")

    assert wrong == []


def test_the_pages_show_commands() -> None:
    shown = {words[1] for path in PAGES for words in commands(path.read_text()) if len(words) > 1}

    assert shown >= {name for name, command in main.commands.items() if not command.hidden}


def test_every_variable_on_a_page_is_a_setting() -> None:
    plugin = (ROOT / "docker" / "tutor" / "dispatcher.py").read_text()
    of_tutor = set(re.findall(r'\("(DISPATCHER_\w+)", ', plugin))
    wrong = [
        f"{page(path)}: {name}"
        for path in PAGES
        for name in _VARIABLE.findall(path.read_text())
        if name not in _NO_SETTINGS | of_tutor and not name.endswith("_") and not is_setting(name)
    ]

    assert wrong == []


def is_setting(variable: str) -> bool:
    path = variable.removeprefix("DISPATCHER_").lower().split("__")
    if path[0] == "sources" and path[1:]:
        return has_field(SourceSettings, path[2:])
    if path[0] != "destinations":
        return has_field(Settings, path)
    return has_field(DestinationSettings, path[2:]) or any(
        has_field(load_type(name).Options, path[2:]) for name in OWN_TYPES.values()
    )


def has_field(model: type[BaseModel], path: list[str]) -> bool:
    field = model.model_fields.get(path[0])
    if field is None:
        return False
    inner = field.annotation
    return len(path) == 1 or (isinstance(inner, type) and issubclass(inner, BaseModel) and has_field(inner, path[1:]))


def test_every_make_target_on_a_page_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for path in PAGES for name in re.findall(r"(?:^|`)make ([a-z]+)", path.read_text(), re.MULTILINE)}

    assert named
    assert named <= targets


# What the reference says


def test_the_reference_lists_every_error() -> None:
    text = (ROOT / "docs" / "reference" / "errors.md").read_text()
    classes = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]

    assert [error.__name__ for error in classes if error.__name__ not in text] == []
    reasons = {getattr(error, "reason", None) for error in classes if issubclass(error, errors.InvalidEventError)}
    assert [reason for reason in reasons if f"`{reason}`" not in text] == []


def test_the_guarantees_name_every_type_of_destination() -> None:
    text = (ROOT / "docs" / "guarantees.md").read_text().partition("## Every window")[2]
    named = set(re.findall(r"`(\w+)`", text)) | {"segment", "tracking_log"}  # which have a section of their own

    assert "### At Segment" in text
    assert "### In the tracking log" in text
    assert set(config.installed_types()) - named == set()


def test_the_reference_lists_the_exit_codes_of_the_program() -> None:
    text = (ROOT / "docs" / "reference" / "errors.md").read_text()

    for code, words in (
        (EXIT_SETTINGS, "wrong settings"),
        (EXIT_UNAVAILABLE, "Redis does not answer"),
        (EXIT_ERROR, "another error"),
    ):
        assert f"| {code} | {words} |" in text


def test_every_command_that_is_said_to_need_redis_exits_with_4(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # `up` gives Redis a minute to load its data.
    monkeypatch.setattr("dispatcher.cli.up._REDIS_SECONDS", 0.1)
    text = (ROOT / "docs" / "reference" / "errors.md").read_text()
    [row] = re.findall(r"^\| 4 \| [^|]+\| ([^|]+) \|$", text, re.MULTILINE)
    commands = re.findall(r"`([a-z ]+)`", row.partition(". ")[0])
    environ = {"DISPATCHER_BROKER_URL": "redis://127.0.0.1:1/0", "DISPATCHER_STATE_DIRECTORY": str(tmp_path)}

    assert len(commands) > 5
    for command in commands:
        arguments = [*command.split(), *(["tracking_log"] if re.search("replay|retry|pause|resume", command) else [])]
        ended = CliRunner().invoke(main, arguments, env=environ)
        assert (ended.exit_code, "does not answer" in ended.output) == (EXIT_UNAVAILABLE, True), f"{command}: {ended}"


def events_page() -> str:
    return (ROOT / "docs" / "reference" / "events.md").read_text()


def example_payload() -> bytes:
    envelope = json.loads(blocks(events_page(), "json")[0])
    return json.dumps(envelope, separators=(",", ":")).encode()


def test_the_example_of_the_envelope_is_valid() -> None:
    assert decode(example_payload()).name == "edx.course.enrollment.activated"


@pytest.mark.parametrize("line_format", ["edx", "tutor", "event"])
def test_the_lines_of_the_reference_are_written_exactly(line_format: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = events_page().partition(f'### `format = "{line_format}"`')[2].partition("```text\n")[2].partition("\n")[0]
    written = renderer(line_format, ids=TrackingLogOptions(path=Path("log")).ids)(example_payload()).decode()
    if line_format == "tutor":
        # Its prefix is in this machine's time zone.
        shown, written = shown.partition(",")[2], written.partition(",")[2]

    assert written == shown


def test_segment_receives_the_message_of_the_reference() -> None:
    shown = json.loads(blocks(events_page(), "json")[1])

    assert to_message(decode(example_payload())) == shown


def table(heading: str) -> list[list[str]]:
    rows = events_page().partition(heading)[2].strip().split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in row.strip("| ").split(" | ")] for row in rows]


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def loop() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


SCOPE: Final[dict[str, Any]] = {
    **{kind.__name__: kind for kind in (date, datetime, time, timedelta, timezone, Decimal, UUID, Path, Fraction)},
    **{kind.__name__: kind for kind in (Colour, Size, Point, Pair, SafeString, SimpleLazyObject, SimpleNamespace)},
    **{kind.__name__: kind for kind in (OrderedDict, ChainMap, UserDict, deque, array)},
    **{kind.__name__: kind for kind in (ip_address, nested, loop)},
    "MappingProxyType": MappingProxyType,
    "UTC": UTC,
    # As Django's own is made, but without a project that has translations.
    "gettext_lazy": lazy(str, str),
    "numpy": numpy,
    "pendulum": pendulum,
}


@pytest.mark.parametrize(("code", "shown"), table("## Values\n"))
def test_a_value_arrives_as_the_table_of_types_says(code: str, shown: str) -> None:
    outbox = MemoryOutbox()
    data = {"value": eval(code.strip("`"), dict(SCOPE))}  # noqa: S307 - our own page
    Tracker(outbox=outbox, strict=True).emit("shop.order.paid", data)

    written = renderer("event")(outbox.payloads[0])
    assert f'"data":{{"value":{shown.strip("`")}}}'.encode() in written


@pytest.mark.parametrize(
    "code",
    [code for row in table("These cannot be taken:\n") for code in re.findall(r"`([^`]+)`", row[0])],
)
def test_a_value_is_refused_as_the_table_of_types_says(code: str) -> None:
    with capture(), pytest.raises(NotEncodableError):
        tracker.emit("shop.order.paid", {"value": eval(code, dict(SCOPE))})  # noqa: S307 - our own page


@pytest.mark.parametrize(
    ("data", "both", "last"),
    [
        ({1: "a", "1": "b"}, b'"1":"a","1":"b"', {"1": "b"}),
        ({"true": "a", True: "b"}, b'"true":"a","true":"b"', {"true": "b"}),
        ({"deep": [{2.5: "a", "2.5": "b"}], "n": 3}, b'"2.5":"a","2.5":"b"', {"deep": [{"2.5": "b"}], "n": 3}),
    ],
)
def test_of_two_keys_with_the_same_text_readers_have_the_last(
    data: dict[Any, Any], both: bytes, last: dict[str, Any]
) -> None:
    outbox = MemoryOutbox()
    Tracker(outbox=outbox, strict=True).emit("shop.order.paid", data)

    assert both in renderer("event")(outbox.payloads[0])
    assert both.replace(b":", b": ").replace(b",", b", ") in renderer("edx")(outbox.payloads[0])
    assert json.loads(renderer("edx")(outbox.payloads[0]))["event"] == last
    assert decode(outbox.payloads[0]).data == last


@pytest.mark.parametrize("page", ["django", "asgi", "wsgi", "celery", "browser", "open-edx", "collector", "board"])
def test_a_page_for_newcomers_says_how_to_install_and_to_start(page: str) -> None:
    text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text()
    assert "pip install" in text
    assert "`dispatcher up`" in text or "dispatcher up\n" in text
