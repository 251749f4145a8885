"""``dispatcher explain --with``: what each destination would get of an event, and the mistakes of a file."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner

from dispatcher import config
from dispatcher.cli.explain import explain
from dispatcher.config import installed_types
from dispatcher.config.destination_types import traits_of
from dispatcher.destinations.base import Batch
from dispatcher.destinations.build import build_destinations
from dispatcher.errors import SettingsError
from dispatcher.event import Event, encode
from dispatcher.outcomes import Filtered, Posted
from tests.support.own_settings import own_settings

if TYPE_CHECKING:
    from pathlib import Path

    from click.testing import Result

EVENT = {
    "id": "01890a5d-ac96-774b-bcce-b302099a8057",
    "name": "shop.paid",
    "timestamp": "2026-01-31T12:00:00+00:00",
    "data": {"order": 17, "code": "hush-hush-hush"},
    "context": {"user_id": 3},
}

PROCESSORS = """
from dispatcher import DropEvent
import msgspec

def redact(event):
    if event.name == "shop.secret":
        raise DropEvent("secret")
    if event.name == "shop.broken":
        raise KeyError("x")
    return msgspec.structs.replace(event, data={**event.data, "redacted": True})
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A site's own settings directory."""
    return own_settings(
        tmp_path / "own",
        "[destinations.tracking_log]\ninternal = false\n"
        "[destinations.segment]\nevents = ['shop.*', '!shop.seen']\n"
        "[[destinations.segment.mapping]]\nevents = ['shop.skipped']\nskip = true\n"
        "[destinations.tags]\ntype = 'google_tag_manager_web'\nevents = ['shop.paid', 'page.*']\n",
    )


def run(own: Path, *arguments: str, given: str | bytes | None = None, **variables: str) -> Result:
    environ = {"HOME": "/home/sam", "DISPATCHER_SETTINGS": str(own), "COLUMNS": "80", **variables}
    return CliRunner().invoke(explain, arguments, env=environ, input=given)


def file(own: Path, content: object, name: str = "event.json") -> str:
    path = own / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def previews(explained: dict[str, Any]) -> dict[str, Any]:
    return {row["destination"]: row.get("preview") for row in explained["destinations"]}


def test_an_event_that_is_only_too_old_is_shown_as_if_it_happened_now(own: Path) -> None:
    table = "[destinations.ads]\ntype = 'meta_conversions'\nevents = ['*']\ndataset_id = '1234567890123456'\n"
    own.joinpath("development.toml").write_text(f"{table}access_token = 'hush-hush-hush'\n")
    path = file(own, {**EVENT, "timestamp": "2020-07-15T06:46:41.543562+00:00"})
    ads = previews(json.loads(run(own, "--with", path, "--json").stdout))["ads"]
    assert (ads["outcome"], ads["reason"]) == ("dead", "too_old")
    assert ads["if_now"]["request"]["body"]["data"][0]["event_name"] == "shop.paid"
    shown = run(own, "--with", path, "--destination", "ads")
    assert shown.stdout.index("too_old") < shown.stdout.index("If it happened now:") < shown.stdout.index("POST http")
    assert "hush-hush-hush" not in shown.stdout
    assert shown.exit_code == 1


def test_a_whole_event_shows_what_each_destination_would_get(own: Path) -> None:
    path = file(own, EVENT)

    result = run(own, "--with", path, "--json", DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY="hush-hush-hush")

    explained = json.loads(result.stdout)
    assert result.exit_code == 0
    assert (explained["name"], explained["id"], explained["place"]) == ("shop.paid", EVENT["id"], path)
    got = previews(explained)
    assert json.loads(got["tracking_log"]["line"])["event"] == EVENT["data"]
    assert json.loads(got["tracking_log"]["line"])["time"] == "2026-01-31T12:00:00+00:00"
    assert got["segment"]["request"]["url"] == "https://api.segment.io/v1/batch"
    (message,) = got["segment"]["request"]["body"]["batch"]
    assert (message["messageId"], message["userId"], message["event"]) == (EVENT["id"], "3", "shop.paid")
    assert got["segment"]["request"]["body"]["writeKey"] == "***"
    assert got["tags"]["calls"][0]["arguments"][0]["eventId"] == EVENT["id"]


def test_no_credential_is_shown_even_if_the_data_holds_it(own: Path) -> None:
    for arguments in (["--json"], []):
        result = run(
            own,
            *("--with", file(own, EVENT), "--destination", "segment", *arguments),
            DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY="hush-hush-hush",
        )

        assert result.exit_code == 0
        assert "***" in result.stdout
        assert "hush" not in result.output


def test_data_alone_is_explained_under_the_given_name(own: Path) -> None:
    result = run(own, "shop.paid", "--with", "-", "--json", given='{"id": "x", "order": 17, "name": "Sam"}')

    explained = json.loads(result.stdout)
    assert result.exit_code == 0
    assert explained["place"] == "standard input"
    assert json.loads(previews(explained)["tracking_log"]["line"])["event"] == {"id": "x", "order": 17, "name": "Sam"}
    assert len(explained["id"]) == 36


@pytest.mark.parametrize(
    ("given", "data"),
    [
        ({"name": "shop.paid", "data": {"a": 1}}, {"a": 1}),
        ({"data": {"a": 1}}, {"a": 1}),
        ({"data": {"a": 1}, "context": {}, "id": "x"}, {"a": 1}),
        ({"data": {"a": 1}, "b": 2}, {"data": {"a": 1}, "b": 2}),
        ({"name": "Sam", "id": "x"}, {"name": "Sam", "id": "x"}),
        ({}, {}),
    ],
)
def test_a_whole_event_is_distinguished_from_data(own: Path, given: dict[str, Any], data: dict[str, Any]) -> None:
    result = run(own, "shop.paid", "--with", file(own, given), "--json")

    assert json.loads(previews(json.loads(result.stdout))["tracking_log"]["line"])["event"] == data


def test_lines_are_explained_one_by_one(own: Path) -> None:
    lines = "\n".join(json.dumps({"name": name}) for name in ("shop.paid", "shop.seen")) + "\n\n"
    path = file(own, lines, "events.jsonl")

    explained = json.loads(run(own, "--with", path, "--json").stdout)
    shown = run(own, "--with", path).stdout

    assert [(one["name"], one["place"]) for one in explained] == [
        ("shop.paid", f"{path}:1"),
        ("shop.seen", f"{path}:2"),
    ]
    assert shown.index("shop.paid") < shown.index("segment ──") < shown.index("shop.seen")


@pytest.mark.parametrize(
    ("name", "content", "is_list"),
    [
        ("one.jsonl", '{"name": "a"}\n', True),
        ("two.txt", '{"name": "a"}\n{"name": "b"}', True),
        ("one.txt", '{"name": "a"}', False),
        ("pretty.json", '{\n"name": "a"\n}', False),
        ("marked.json", '\ufeff{"name": "a"}', False),
    ],
)
def test_input_that_can_hold_several_events_prints_a_list(own: Path, name: str, content: str, is_list: bool) -> None:
    result = run(own, "--with", file(own, content, name), "--json")

    assert isinstance(json.loads(result.stdout), list) is is_list


def test_the_terminal_shows_the_request_as_it_is_sent(own: Path) -> None:
    result = run(own, "--with", file(own, {**EVENT, "data": {"page": "x" * 200}}))

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert "POST https://api.segment.io/v1/batch" in lines
    assert "Content-Type: application/json" in lines
    assert f'        "page": "{"x" * 200}"' in lines
    assert "dataLayer.push({" in lines
    assert any(line.startswith('{"name": "shop.paid", "context": {') for line in lines)
    assert any(line.startswith("It would wait: Segment has no write key: set DISPATCHER_DEST") for line in lines)


def test_only_the_named_destinations_are_shown(own: Path) -> None:
    arguments = ("--with", file(own, EVENT), "--destination", "tags", "--destination", "segment", "--json")

    explained = json.loads(run(own, *arguments).stdout)

    assert list(previews(explained)) == ["segment", "tags"]


def test_an_unknown_destination_is_named_with_the_configured_ones(own: Path) -> None:
    result = run(own, "shop.paid", "--destination", "sagment")

    assert result.exit_code == 2
    assert "it is not configured; configured are: tracking_log, segment, tags" in " ".join(result.stderr.split())
    assert "sagment" not in result.stderr


def test_events_that_are_not_routed_are_shown_on_demand(own: Path) -> None:
    without = json.loads(run(own, "--with", file(own, {"name": "shop.seen"}), "--json").stdout)
    everything = json.loads(run(own, "--with", file(own, {"name": "edx.bi.page"}), "--all", "--json").stdout)

    assert previews(without)["segment"] is None
    assert set(previews(everything)["segment"]) == {"request", "missing"}
    assert "calls" in previews(everything)["tags"]
    assert "line" in previews(everything)["tracking_log"]


def test_an_old_event_can_be_explained_as_if_it_happened_now(own: Path) -> None:
    began = datetime.now(UTC)
    path = file(own, {**EVENT, "timestamp": "2020-01-31T12:00:00"})

    kept = json.loads(run(own, "--with", path, "--json").stdout)
    fresh = json.loads(run(own, "--with", path, "--json", "--now").stdout)

    assert json.loads(previews(kept)["tracking_log"]["line"])["time"] == "2020-01-31T12:00:00+00:00"
    assert datetime.fromisoformat(json.loads(previews(fresh)["tracking_log"]["line"])["time"]) >= began
    assert fresh["id"] == EVENT["id"]


def test_a_disabled_destination_is_never_asked(own: Path) -> None:
    result = run(
        own,
        *("--with", file(own, EVENT), "--all", "--json"),
        DISPATCHER_DESTINATIONS__SEGMENT__ENABLED="false",
        DISPATCHER_DESTINATIONS__SEGMENT__HOST="nonsense",
    )

    assert previews(json.loads(result.stdout))["segment"] is None


def test_an_event_that_every_destination_skips_goes_nowhere(own: Path) -> None:
    arguments = ("--with", file(own, {"name": "shop.skipped"}))

    assert run(own, *arguments).exit_code == 0
    result = run(own, *arguments, "--destination", "segment")
    assert result.exit_code == 1
    assert " filtered  segment" in result.stdout
    assert "filtered: mapping" in result.stdout


def test_each_of_several_events_must_go_somewhere(own: Path) -> None:
    path = file(own, '{"name": "shop.paid"}\n{"name": "edx.bi.page"}', "events.jsonl")

    assert run(own, "--with", path).exit_code == 1


def test_an_event_for_the_browser_is_shown_as_its_calls(own: Path) -> None:
    result = run(own, "--with", file(own, EVENT), "--destination", "tags")

    assert result.exit_code == 0
    assert "dataLayer.push" in result.stdout


BROWSER_TYPES = [name for name in installed_types() if traits_of(name).in_browser]


@pytest.mark.parametrize("kind", BROWSER_TYPES)
def test_a_browser_event_is_explained_as_it_is_handed_over(own: Path, kind: str) -> None:
    fields = ["value", "currency", "note", "nested", "contact", "gift"]
    table = f"[destinations.page]\ntype = '{kind}'\nevents = ['*']\nfields = {fields}\n"
    own.joinpath("base.toml").write_text(table)
    data = {
        "value": 17,
        "currency": "EUR",
        "grade": "is-kept-back",
        "contact": "sam@example.org",
        "nested": {"a": 1, "mail": "sam@example.org"},
        "note": "https://shop.example/paid?token=is-kept-back",
    }
    path = file(own, {**EVENT, "data": data})

    shown = run(own, "--with", path, "--destination", "page")
    preview = previews(json.loads(run(own, "--with", path, "--destination", "page", "--json").stdout))["page"]

    environ = {"DISPATCHER_SETTINGS": str(own), "DISPATCHER_COLLECTOR__SECRET": "s" * 32}
    destination = build_destinations(config.load(environ))["page"]()
    payload = encode(Event(**{**EVENT, "timestamp": datetime.fromisoformat(EVENT["timestamp"]), "data": data}))
    [outcome] = destination.deliver(Batch(destination="page", id="b", payloads=(payload,)))
    if isinstance(outcome, Filtered):
        assert (preview["outcome"], preview["reason"]) == ("filtered", outcome.reason)
        assert preview["error"] in " ".join(shown.stdout.split())
        return
    assert isinstance(outcome, Posted)
    assert json.loads(outcome.calls) == preview["calls"]
    assert "is-kept-back" not in shown.stdout
    assert "sam@example.org" not in shown.stdout
    said = json.dumps(preview["calls"])
    kept_back = {"grade"} if '"nested"' in said else {"grade", "nested"}
    # Advertisers get a hash of an address.
    if not destination.advertising:
        kept_back |= {"contact"} | ({"nested.mail"} if '"nested"' in said else set())
    assert set(preview["kept_back"]) == kept_back
    assert f"kept back: {', '.join(preview['kept_back'])}" in shown.stdout
    assert all(f'"{name}"' in said for name in ("value", "currency", "note"))
    assert all(call["call"] in shown.stdout for call in preview["calls"])


def test_a_segment_call_is_explained_as_a_call(own: Path) -> None:
    call = {**EVENT, "type": "identify", "data": {"userId": "sam", "traits": {"plan": "gold"}}}

    explained = json.loads(run(own, "--with", file(own, call), "--json").stdout)

    (message,) = previews(explained)["segment"]["request"]["body"]["batch"]
    assert (message["type"], message["userId"], message["traits"]) == ("identify", "sam", {"plan": "gold"})
    assert previews(explained)["tracking_log"] is None


def test_processors_are_applied(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own.joinpath("explain_with_processors.py").write_text(PROCESSORS)
    monkeypatch.syspath_prepend(str(own))
    variables = {"DISPATCHER_PROCESSORS": '["explain_with_processors:redact"]'}

    kept = json.loads(run(own, "--with", file(own, EVENT), "--json", **variables).stdout)
    dropped = run(own, "--with", file(own, {"name": "shop.secret"}), **variables)
    broken = run(own, "--with", file(own, {"name": "shop.broken"}), **variables)

    assert json.loads(previews(kept)["tracking_log"]["line"])["event"] == {**EVENT["data"], "redacted": True}
    assert (dropped.exit_code, "A processor drops it: secret" in dropped.stdout) == (1, True)
    assert broken.exit_code == 2
    assert "the processor 'redact' failed" in " ".join(broken.stderr.split())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("event.json", "{\n  'a': 1}", "event.json:2: it is not JSON"),
        ("event.json", "", "event.json: it is empty"),
        (
            "event.json",
            "[1]",
            "event.json: it is a list: give each event as one JSON object",
        ),
        ("event.json", "17", "event.json: it is not an object: give each event as one JSON object"),
        ("event.json", '{"data": {}}', 'event.json: it has no "name"'),
        ("event.json", '{"name": 17}', "event.json: the event name"),
        ("event.json", '{"name": "a", "type": "click"}', "event.json: its type must be one of event, alias"),
        (
            "event.json",
            '{"name": "a", "timestamp": "noon"}',
            "event.json: the timestamp is not a time: write",
        ),
        ("event.json", '{"name": "a", "timestamp": 17}', "event.json: the timestamp is of type int: write text"),
        (
            "event.json",
            '{"name": "a", "timestamp": "0001-01-01T00:00:00+14:00"}',
            "event.json: the timestamp is not a time",
        ),
        ("event.json", '{"name": "a", "data": [1]}', "event.json: the data of the event a must be a dict"),
        ("event.json", '{"name": "a", "context": 1}', "event.json: the context of the event a must be a dict"),
        ("event.json", '{"name": "a", "id": ""}', "event.json: the id of the event a must be text"),
        ("event.json", '{"name": "a", "data": {"x": NaN}}', "event.json: the event a cannot be encoded"),
        ("event.json", "[" * 100_000, "event.json: it is not JSON"),
        ("events.jsonl", '{"name": "a"}\n\n{"name" "b"}', "events.jsonl:3: it is not JSON"),
        ("events.jsonl", '{"name": "a"}\n[]', "events.jsonl:2: it is a list"),
        ("events.jsonl", "\n", "events.jsonl: it is empty"),
    ],
)
def test_a_bad_file_is_named_with_its_line_and_a_remedy(own: Path, name: str, content: str, said: str) -> None:
    result = run(own, "--with", file(own, content, name), COLUMNS="5000")

    assert result.exit_code == 2
    assert result.stdout == ""
    assert said in result.stderr


def test_bytes_that_are_not_text_are_refused(own: Path) -> None:
    result = run(own, "--with", "-", given=b"\xff\xfe{")

    assert result.exit_code == 2
    assert "standard input: it is not JSON" in result.stderr


def test_a_missing_file_is_a_usage_error(own: Path) -> None:
    result = run(own, "--with", str(own / "missing.json"))

    assert result.exit_code == 2
    assert "missing.json" in result.stderr


def test_two_names_for_one_event_are_a_usage_error(own: Path) -> None:
    result = run(own, "shop.seen", "--with", file(own, EVENT), COLUMNS="5000")

    assert result.exit_code == 2
    assert "the name of the event is 'shop.paid': leave out NAME, 'shop.seen'" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give the NAME of an event, or --with FILE"),
        (["a", "--all"], "--all needs --with"),
        (["a", "--now"], "--now needs --with"),
    ],
)
def test_an_empty_input_is_an_error(own: Path, arguments: list[str], said: str) -> None:
    result = run(own, *arguments)

    assert (result.exit_code, said in result.stderr) == (2, True)


@pytest.mark.parametrize("event_id", [EVENT["id"], EVENT["id"].upper(), EVENT["id"].replace("-", "")])
@pytest.mark.parametrize("more", [(), ("--json",), ("--with", "-")])
def test_an_id_in_place_of_a_name_is_told_what_to_use(own: Path, event_id: str, more: tuple[str, ...]) -> None:
    result = run(own, event_id, *more, given="{}", COLUMNS="5000")

    assert (result.exit_code, result.stdout) == (2, "")
    for word in (f"dispatcher find {event_id}", "takes the name"):
        assert word in result.stderr


def test_a_name_that_resembles_an_id_is_a_name(own: Path) -> None:
    assert run(own, f"shop.{EVENT['id']}", "--json").exit_code == 0


def test_wrong_options_are_reported_as_by_settings_check(own: Path) -> None:
    wrong = {"DISPATCHER_DESTINATIONS__SEGMENT__HOTS": "http://h"}

    result = run(own, "--with", file(own, EVENT), **wrong)
    elsewhere = run(own, "--with", file(own, EVENT), "--destination", "tracking_log", **wrong)

    assert isinstance(result.exception, SettingsError)
    assert result.exception.problems == (
        'DISPATCHER_DESTINATIONS__SEGMENT__HOTS: destinations.segment.hots = "http://h": unknown setting; '
        "did you mean DISPATCHER_DESTINATIONS__SEGMENT__HOST?",
    )
    assert elsewhere.exit_code == 0
