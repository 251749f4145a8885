"""Settings: which layer wins, where files are searched, and how every mistake is named at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from dispatcher import config
from dispatcher.config import DestinationSettings, OutboxSettings, Settings
from dispatcher.destinations.options import check_options
from dispatcher.destinations.types import load_type
from dispatcher.errors import SettingsError
from dispatcher.secrecy.secret_names import may_be_secret
from tests.support.own_settings import install_types

if TYPE_CHECKING:
    from collections.abc import Mapping

SAMPLE_TYPES = """
from pydantic import SecretStr
from dispatcher.destinations import base, traits

class LogOptions(base.Options):
    path: str

class Log(base.Destination):
    Options = LogOptions
    traits = traits.TRACKING_LOG

class HttpOptions(base.Options):
    write_key: SecretStr
    host: str = "https://example.org"
    timeout: float = 5.0
    pin: SecretStr | None = None

class Http(base.Destination):
    Options = HttpOptions
    traits = traits.SEGMENT
"""


@pytest.fixture(autouse=True)
def _installed_types(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A distribution with destination types of its own, ahead of whatever is installed."""
    site = install_types(
        tmp_path / "site",
        monkeypatch,
        tracking_log="config_sample_types:Log",
        segment="config_sample_types:Http",
        broken="config_sample_types:NotThere",
    )
    site.joinpath("config_sample_types.py").write_text(SAMPLE_TYPES)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    path = tmp_path / "home"
    path.mkdir()
    return path


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site's own settings directory, with nothing in its files."""
    path = tmp_path / "own"
    path.mkdir()
    path.joinpath("base.toml").write_text("")
    path.joinpath("development.toml").write_text("")
    return path


def load(site: Path, environ: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    return config.load({"HOME": "/home/sam", "DISPATCHER_SETTINGS": str(site), **(environ or {})}, overrides)


def problems_of(site: Path, environ: Mapping[str, str] | None = None, **overrides: Any) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(site, environ, **overrides)
    return caught.value.problems


def the_problem(site: Path, environ: Mapping[str, str] | None = None, **overrides: Any) -> str:
    problems = problems_of(site, environ, **overrides)
    assert len(problems) == 1, problems
    return problems[0]


# Layers


def test_each_layer_wins_over_the_one_below(site: Path) -> None:
    site.joinpath("base.toml").write_text("[worker]\nconcurrency = 1\nbell_seconds = 1.5\npool = 'solo'\n")
    site.joinpath("development.toml").write_text("[worker]\nconcurrency = 2\nbell_seconds = 2.5\n")

    assert load(site).worker.concurrency == 2
    assert load(site, {"DISPATCHER_WORKER__CONCURRENCY": "3"}).worker.concurrency == 3
    settings = load(site, {"DISPATCHER_WORKER__CONCURRENCY": "3"}, worker={"concurrency": 4})
    assert settings.worker.concurrency == 4
    assert settings.worker.bell_seconds == 2.5
    assert settings.worker.pool == "solo"


def test_a_list_replaces_the_list_below_it(site: Path) -> None:
    site.joinpath("base.toml").write_text("[destinations.segment]\nevents = ['a', 'b']\nhost = 'h'\n")
    site.joinpath("development.toml").write_text("[destinations.segment]\nevents = ['c']\n")

    segment = load(site).destinations["segment"]

    assert segment.events == ("c",)
    assert segment.options == {"host": "h"}


def test_an_empty_table_adds_a_destination_and_clears_none(site: Path) -> None:
    site.joinpath("base.toml").write_text("[destinations.segment]\nevents = ['a']\n[destinations.tracking_log]\n")
    site.joinpath("development.toml").write_text("[destinations.segment]\n")

    destinations = load(site).destinations

    assert set(destinations) == {"segment", "tracking_log"}
    assert destinations["segment"].events == ("a",)


def test_overrides_may_be_nested_or_use_double_underscores_or_both(site: Path) -> None:
    settings = load(
        site,
        outbox__directory="/var/spool/events",
        outbox={"max_bytes": 10 << 20},
        destinations__segment__write_key="k",
        destinations={"segment": {"events": ("a",)}},
    )

    assert settings.outbox_directory == Path("/var/spool/events")
    assert settings.outbox.max_bytes == 10 << 20
    assert settings.destinations["segment"].options == {"write_key": "k"}
    assert settings.destinations["segment"].events == ("a",)


def test_a_model_can_be_an_override(site: Path) -> None:
    assert load(site, outbox=OutboxSettings(sync_seconds=3)).outbox.sync_seconds == 3


def test_none_in_code_unsets_a_value_of_a_file(site: Path) -> None:
    site.joinpath("base.toml").write_text("broker_url = 'redis://localhost'")

    assert load(site, broker_url=None).broker_url is None


# Environment variables


@pytest.mark.parametrize(
    ("name", "text", "read"),
    [
        ("DISPATCHER_BROKER_URL", "redis://h:1/2", lambda s: s.broker_url == "redis://h:1/2"),
        ("DISPATCHER_OUTBOX__DIRECTORY", "/x", lambda s: s.outbox_directory == Path("/x")),
        (
            "DISPATCHER_DESTINATIONS__TRACKING_LOG__PATH",
            "/x/t.log",
            lambda s: s.destinations["tracking_log"].options == {"path": "/x/t.log"},
        ),
        (
            "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY",
            "12345",
            lambda s: s.destinations["segment"].options == {"write_key": "12345"},
        ),
        (
            "DISPATCHER_DESTINATIONS__SEGMENT__HOST",
            "http://h",
            lambda s: s.destinations["segment"].options == {"host": "http://h"},
        ),
        ("DISPATCHER_STRICT", "true", lambda s: s.strict is True),
        ("dispatcher_strict", "1", lambda s: s.strict is True),
        ("DISPATCHER_RELAY__LINGER_SECONDS", "0.2", lambda s: s.relay.linger_seconds == 0.2),
        ("DISPATCHER_INTERNAL_EVENTS", '["a.*"]', lambda s: s.internal_events == ("a.*",)),
        ("DISPATCHER_INTERNAL_EVENTS", "[]", lambda s: s.internal_events == ()),
        (
            "DISPATCHER_DESTINATIONS__SEGMENT__EVENTS",
            '["a", "!b"]',
            lambda s: s.destinations["segment"].events == ("a", "!b"),
        ),
        ("DISPATCHER_WORKER", '{"concurrency": 9}', lambda s: s.worker.concurrency == 9),
        (
            "DISPATCHER_DESTINATIONS__SEGMENT",
            '{"retry": {"factor": 3}}',
            lambda s: s.destinations["segment"].retry.factor == 3,
        ),
        (
            "DISPATCHER_DESTINATIONS__SEGMENT__HEADERS",
            '{"x": "y"}',
            lambda s: s.destinations["segment"].options == {"headers": {"x": "y"}},
        ),
    ],
)
def test_every_setting_has_a_variable(site: Path, name: str, text: str, read: Any) -> None:
    assert read(load(site, {name: text}))


def test_the_more_specific_variable_wins(site: Path) -> None:
    environ = {"DISPATCHER_WORKER__CONCURRENCY": "2", "DISPATCHER_WORKER": '{"concurrency": 9, "pool": "solo"}'}

    worker = load(site, environ).worker

    assert (worker.concurrency, worker.pool) == (2, "solo")


def test_an_empty_variable_counts_as_not_set(site: Path) -> None:
    site.joinpath("base.toml").write_text("broker_url = 'redis://localhost'")

    assert load(site, {"DISPATCHER_BROKER_URL": ""}).broker_url == "redis://localhost"


def test_kubernetes_service_variables_are_ignored(site: Path) -> None:
    load(
        site,
        {
            "DISPATCHER_SERVICE_HOST": "10.0.0.1",
            "DISPATCHER_PORT": "tcp://10.0.0.1:80",
            "DISPATCHER_PORT_80_TCP_ADDR": "10.0.0.1",
            "DISPATCHER_WEB_SERVICE_PORT_HTTP": "80",
            "DISPATCHER__WEB_PORT": "tcp://10.0.0.1:80",
            "DISPATCHER_A__B_PORT_80_SCTP_PROTO": "sctp",
            "DISPATCHER_DESTINATIONS_PORT": "tcp://10.0.0.1:80",
        },
    )


# Files


def test_by_default_the_shipped_development_settings_are_read(home: Path) -> None:
    settings = config.load({"HOME": str(home)})

    assert settings.environment == "development"
    assert settings.strict
    assert settings.broker_url is None
    assert settings.state_directory == home / ".local/state/dispatcher"
    assert settings.outbox_directory == home / ".local/state/dispatcher/outbox"


@pytest.mark.parametrize("environment", ["development", "edge", "production"])
def test_every_shipped_environment_can_be_read_and_holds_no_credential(home: Path, environment: str) -> None:
    settings = config.load({"HOME": str(home), "DISPATCHER_ENV": environment})

    assert settings.environment == environment
    assert set(settings.destinations) == {"tracking_log", "segment"}
    assert settings.destinations["tracking_log"].events is None
    assert settings.destinations["segment"].options == {}
    assert settings.strict is (environment == "development")


def test_the_shipped_sites_have_their_own_allowlists(home: Path) -> None:
    edge = config.load({"HOME": str(home), "DISPATCHER_ENV": "edge"}).destinations["segment"].events
    production = config.load({"HOME": str(home), "DISPATCHER_ENV": "production"}).destinations["segment"].events

    assert edge is not None
    assert production is not None
    assert set(edge) != set(production)


def test_a_directory_without_a_base_extends_the_shipped_base(site: Path) -> None:
    site.joinpath("base.toml").unlink()

    assert set(load(site).destinations) == {"tracking_log"}


def test_a_single_file_extends_the_shipped_base(site: Path) -> None:
    file = site / "mine.toml"
    file.write_text("[worker]\nconcurrency = 7\n")

    settings = config.load({"HOME": "/h", "DISPATCHER_SETTINGS": str(file), "DISPATCHER_ENV": "staging"})

    assert settings.worker.concurrency == 7
    assert settings.environment == "staging"
    assert not settings.strict
    # A site without Segment says nothing of it, and does not get it either.
    assert set(settings.destinations) == {"tracking_log"}


def test_code_may_choose_the_environment(site: Path) -> None:
    site.joinpath("test.toml").write_text("strict = true")

    settings = load(site, environment="test")

    assert settings.environment == "test"
    assert settings.strict


def test_the_files_to_watch_include_those_that_do_not_exist_yet(site: Path) -> None:
    environ = {"HOME": "/h", "DISPATCHER_SETTINGS": str(site), "DISPATCHER_ENV": "later"}

    assert config.source_files(environ) == (site / "base.toml", site / "later.toml")


def test_settings_can_be_read_again_from_their_sources(site: Path) -> None:
    settings = load(site, worker__concurrency=2)
    assert settings.origin is not None
    site.joinpath("development.toml").write_text("strict = true\n")

    again = settings.origin.load()

    assert again.strict
    assert again.worker.concurrency == 2
    assert settings.origin.files() == (site / "base.toml", site / "development.toml")
    assert Settings().origin is None


def test_an_unknown_environment_names_the_known_ones(site: Path) -> None:
    site.joinpath("production.toml").write_text("")

    problem = the_problem(site, {"DISPATCHER_ENV": "productoin"})

    assert problem.startswith(f"DISPATCHER_ENV: {site} lacks the environment 'productoin': ")
    assert "did you mean 'production'?" in problem
    assert "it has development, production" in problem


@pytest.mark.parametrize("environment", ["../production", "base", "a/b", ".", "a.b"])
def test_an_environment_with_a_path_in_its_name_opens_no_file(site: Path, environment: str) -> None:
    assert "is not an environment" in the_problem(site, {"DISPATCHER_ENV": environment})


@pytest.mark.parametrize("name", ["nowhere", "nowhere.toml"])
def test_a_missing_settings_path_is_named(tmp_path: Path, name: str) -> None:
    problem = the_problem(tmp_path / name)

    assert problem.startswith(f"DISPATCHER_SETTINGS: {tmp_path / name}: ")
    assert "exist" in problem


def test_a_syntax_error_names_file_and_line(site: Path) -> None:
    site.joinpath("development.toml").write_text("strict = true\nworker = = 3\n")

    problem = the_problem(site)

    assert problem.startswith(f"{site / 'development.toml'}: not TOML: ")
    assert "line 2" in problem


def test_a_file_that_is_not_utf8_is_named(site: Path) -> None:
    site.joinpath("base.toml").write_bytes(b"# caf\xe9\n")

    assert the_problem(site) == f"{site / 'base.toml'}: not UTF-8 at byte 5: save it as UTF-8"


# Paths


def test_home_and_variables_in_paths_are_expanded(site: Path) -> None:
    environ = {"HOME": "/home/ada", "SPOOL": "/spool"}
    settings = load(
        site,
        environ,
        state_directory="~/state",
        outbox__directory="${SPOOL}/out",
        destinations__tracking_log__path="$SPOOL/t.log",
    )

    assert settings.state_directory == Path("/home/ada/state")
    assert settings.outbox_directory == Path("/spool/out")
    assert settings.destinations["tracking_log"].options == {"path": "/spool/t.log"}


def test_two_dollar_signs_stand_for_one_in_a_path(site: Path) -> None:
    assert load(site, {"X": "/x"}, state_directory="${X}/a$$X/$$$$").state_directory == Path("/x/a$X/$$")


def test_a_relative_path_is_made_absolute_at_once(site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    assert load(site, state_directory="state").state_directory == tmp_path / "state"


def test_the_state_directory_follows_xdg(site: Path) -> None:
    assert load(site, {"XDG_STATE_HOME": "/s"}).state_directory == Path("/s/dispatcher")
    assert load(site, {"XDG_STATE_HOME": "relative"}).state_directory == Path("/home/sam/.local/state/dispatcher")


def test_an_unset_variable_is_named_with_the_key_that_uses_it(site: Path) -> None:
    site.joinpath("base.toml").write_text(
        "state_directory = '$NOT_SET/x'\n[destinations.tracking_log]\npath = '$NOR_THIS/y'\n"
    )

    path, state = sorted(problems_of(site))

    assert path.startswith(f'{site / "base.toml"}: destinations.tracking_log.path = "$NOR_THIS/y": it uses $NOR_THIS')
    assert state.startswith(f'{site / "base.toml"}: state_directory = "$NOT_SET/x": it uses $NOT_SET')


def test_the_tracking_log_defaults_to_the_state_directory(site: Path) -> None:
    settings = load(site, state_directory="/s", destinations={"tracking_log": {}, "copy": {"type": "tracking_log"}})

    assert settings.destinations["tracking_log"].options == {"path": "/s/tracking.log"}
    assert settings.destinations["copy"].options == {"path": "/s/tracking.log"}


# Destinations


def test_a_destination_has_the_defaults_of_its_type(site: Path) -> None:
    settings = load(site, destinations={"tracking_log": {}, "segment": {}, "second": {"type": "segment"}})

    log, segment, second = (settings.destinations[name] for name in ("tracking_log", "segment", "second"))
    assert (log.type, log.batch_events, log.batch_bytes) == ("tracking_log", 1000, 2_000_000)
    assert (segment.type, segment.batch_events, segment.batch_bytes) == ("segment", 400, 475_000)
    assert second.type == "segment"
    assert segment.events is None
    assert segment.internal
    assert segment.lease_seconds == 60
    assert (segment.retry.first_seconds, segment.retry.max_seconds, segment.retry.factor) == (1, 300, 2)


def test_a_destinations_settings_win_over_its_types_defaults(site: Path) -> None:
    assert load(site, destinations__tracking_log__batch_events=7).destinations["tracking_log"].batch_events == 7


def test_an_unknown_type_is_refused_with_the_installed_ones(site: Path) -> None:
    site.joinpath("base.toml").write_text("[destinations.other]\ntype = 'segmnt'\n")

    problem = the_problem(site)

    assert problem.startswith(f'{site / "base.toml"}: destinations.other.type = "segmnt": ')
    assert "did you mean 'segment'?" in problem
    assert "tracking_log" in problem


def test_a_misspelt_destination_in_a_variable_is_an_unknown_type(site: Path) -> None:
    problem = the_problem(site, {"DISPATCHER_DESTINATIONS__SEGMNT__WRITE_KEY": "hush"})

    assert problem.startswith("DISPATCHER_DESTINATIONS__SEGMNT__WRITE_KEY: destinations.segmnt: ")
    assert "did you mean 'segment'?" in problem
    assert "hush" not in problem


def test_a_class_path_is_a_type_and_is_not_imported(site: Path) -> None:
    settings = load(site, destinations={"mine": {"type": "no.such.package:Class"}})

    assert settings.destinations["mine"].type == "no.such.package:Class"


@pytest.mark.parametrize("name", ["Segment", "2nd", "my-log", "_x", "ä"])
def test_destination_names_are_lower_case_letters_digits_and_underscores(site: Path, name: str) -> None:
    problem = the_problem(site, destinations={name: {"type": "segment"}})

    assert problem.startswith(f"configure(): destinations.{name}")
    assert "the name of a destination" in problem


# Mistakes


def test_all_mistakes_are_reported_at_once(site: Path) -> None:
    site.joinpath("base.toml").write_text("[outbox]\nmax_byte = 1\n[worker]\npool = 'thread'\n")
    site.joinpath("development.toml").write_text("[relay]\nlinger_seconds = 'soon'\n")

    problems = problems_of(
        site, {"DISPATCHER_WORKER__CONCURRENCY": "0", "DISPATCHER_BROKER_ULR": "redis://h"}, strict="maybe"
    )

    assert sorted(problem.split(": ")[1].split(" = ")[0] for problem in problems) == [
        "broker_ulr",
        "outbox.max_byte",
        "relay.linger_seconds",
        "strict",
        "worker.concurrency",
        "worker.pool",
    ]


def test_a_broken_file_hides_no_mistake_elsewhere(site: Path) -> None:
    site.joinpath("base.toml").write_text("[[[")

    problems = problems_of(site, {"DISPATCHER_WORKER__CONCURRENCY": "none", "DISPATCHER_STRCT": "true"})

    assert len(problems) == 3


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        (
            "[outbox]\nmax_byte = 5",
            "outbox.max_byte = 5: unknown setting; did you mean outbox.max_bytes?",
        ),
        (
            "max_event_bytes = 5",
            "max_event_bytes = 5: unknown setting; did you mean outbox.max_event_bytes?",
        ),
        (
            "[outbx]\nmax_bytes = 5",
            'outbx = {"max_bytes": 5}: unknown setting; did you mean outbox?',
        ),
        (
            "[destinations.segment.retry]\nfirst = 1",
            "destinations.segment.retry.first = 1: unknown setting; "
            "did you mean destinations.segment.retry.first_seconds?",
        ),
        (
            "[destinations.segment.retry]\nzeal = 1",
            "destinations.segment.retry.zeal = 1: unknown setting; "
            "destinations.segment.retry can hold first_seconds, max_seconds, factor, max_age_seconds",
        ),
        ("environment = 'edge'", 'environment = "edge": it is not chosen here; set DISPATCHER_ENV instead'),
        ("[worker]\nconcurrency = 'four'", 'worker.concurrency = "four": it must be a whole number'),
        ("[worker]\nconcurrency = 1.5", "worker.concurrency = 1.5: it must be a whole number"),
        ("[worker]\nconcurrency = true", "worker.concurrency = true: it must be a number, not true or false"),
        ("[worker]\nconcurrency = 0", "worker.concurrency = 0: it must be 1 or more"),
        ("[relay]\nadopt_seconds = 0", "relay.adopt_seconds = 0: it must be more than 0"),
        ("[relay]\nadopt_seconds = inf", "relay.adopt_seconds = Infinity: it must be a finite number"),
        ("[relay]\nadopt_seconds = nan", "relay.adopt_seconds = NaN: it must be a finite number"),
        (
            "[relay]\nmode = 'extern'",
            "relay.mode = \"extern\": it must be one of thread, external; did you mean 'external'?",
        ),
        ("worker = 4", "worker = 4: it must be a table"),
        ("destinations = 4", "destinations = 4: it must be a table"),
        ("destinations.segment = 'x'", 'destinations.segment = "x": it must be a table'),
        ("strict = 'maybe'", 'strict = "maybe": it must be true or false'),
        ("broker_url = 5", "broker_url = 5: it must be text"),
        ("internal_events = 'a'", 'internal_events = "a": it must be a list, such as ["edx.course.*"]'),
        ("internal_events = ['a', 5]", "internal_events[1] = 5: it must be text"),
        (
            "processors = ['app.redact']",
            "processors = [\"app.redact\"]: 'app.redact' must have the form package.module:callable",
        ),
        (
            "[destinations.segment.retry]\nfirst_seconds = 9\nmax_seconds = 5",
            "destinations.segment.retry.max_seconds = 5: it must be at least first_seconds = 9.0; "
            "raise max_seconds or lower first_seconds",
        ),
        (
            "[outbox]\nmax_bytes = 1000\nmax_event_bytes = 100\njournal_bytes = 8192",
            "outbox.journal_bytes = 8192: two of them must not exceed max_bytes = 1000, or nothing could be taken "
            "once one is full; "
            "lower journal_bytes or raise max_bytes",
        ),
    ],
)
def test_a_mistake_in_a_file_is_named_with_its_value_and_a_remedy(site: Path, toml: str, line: str) -> None:
    site.joinpath("base.toml").write_text(toml)

    assert the_problem(site) == f"{site / 'base.toml'}: {line}"


def test_a_limit_that_contradicts_a_default_names_both(site: Path) -> None:
    problem = the_problem(site, {"DISPATCHER_OUTBOX__MAX_EVENT_BYTES": "5000000"})

    assert problem.startswith("default: outbox.journal_bytes = 4194304: it must be at least max_event_bytes + 4096 = ")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("DISPATCHER_OUTBOX_DIRECTORY", "DISPATCHER_OUTBOX__DIRECTORY"),
        ("DISPATCHER_BROKER_ULR", "DISPATCHER_BROKER_URL"),
        ("DISPATCHER_BROKER", "DISPATCHER_BROKER_URL"),
        ("DISPATCHER_OUTBX__DIRECTORY", "DISPATCHER_OUTBOX__DIRECTORY"),
        ("DISPATCHER_WORKER__CONCURENCY", "DISPATCHER_WORKER__CONCURRENCY"),
        ("DISPATCHER_CONCURRENCY", "DISPATCHER_WORKER__CONCURRENCY"),
        ("DISPATCHER_SEGMENT__WRITE_KEY", "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY"),
        ("DISPATCHER_SEGMENT_WRITE_KEY", "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY"),
        ("DISPATCHER_DESTINATIONS_SEGMENT_WRITE_KEY", "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY"),
        ("DISPATCHER_SETTING", "DISPATCHER_SETTINGS"),
    ],
)
def test_an_unknown_variable_is_refused_with_the_intended_one(site: Path, name: str, meant: str) -> None:
    problem = the_problem(site, {name: "hush"}, destinations={"segment": {}})

    assert problem.startswith(f"{name}: ")
    assert problem.endswith(f"unknown setting; did you mean {meant}?")


def test_a_misspelt_variable_does_not_choose_the_environment(site: Path) -> None:
    problem = the_problem(site, {"DISPATCHER_ENVIRONMENT": "edge"})

    assert problem == (
        'DISPATCHER_ENVIRONMENT: environment = "edge": it is not chosen here; set DISPATCHER_ENV instead'
    )


def test_a_list_in_a_variable_must_be_json(site: Path) -> None:
    assert the_problem(site, {"DISPATCHER_INTERNAL_EVENTS": "a,b"}) == (
        'DISPATCHER_INTERNAL_EVENTS: internal_events = "a,b": it must be a list, such as ["edx.course.*"], in JSON'
    )


def test_a_mistake_in_code_names_code_as_its_source(site: Path) -> None:
    assert the_problem(site, relay__mode="external ") == (
        "configure(): relay.mode = \"external \": it must be one of thread, external; did you mean 'external'?"
    )


@pytest.mark.parametrize("entry", ["", "!", "!!a", " a", "a ", "! a"])
def test_an_allowlist_entry_that_can_never_match_is_refused(site: Path, entry: str) -> None:
    assert "must be a name, a glob" in the_problem(site, destinations__segment__events=["x", entry])


def test_an_allowlist_of_exceptions_only_is_refused(site: Path) -> None:
    assert 'add "*"' in the_problem(site, destinations__segment__events=["!edx.bi.*"])


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost:6379/0",
        "rediss://:p%2Fw@h/1",
        "redis+socket:///run/redis.sock?virtual_host=1",
        "unix:///run/redis.sock?db=1",
    ],
)
def test_a_redis_broker_is_also_the_batch_store(site: Path, url: str) -> None:
    assert load(site, broker_url=url).store_url == url


def test_sentinel_urls_must_name_the_primary(site: Path) -> None:
    sentinels = "sentinel://a:26379;sentinel://b:26379"

    assert "which primary is meant" in the_problem(site, broker_url=sentinels)
    assert load(site, broker_url=f"{sentinels}/0?master_name=m").store_url == f"{sentinels}/0?master_name=m"


def test_a_broker_other_than_redis_needs_a_store_url(site: Path) -> None:
    problem = the_problem(site, broker_url="amqp://guest:guest@h//")

    assert problem == (
        "default: store_url = null: the broker is not a Redis, so the batch store needs one of its own; set store_url"
    )
    assert load(site, broker_url="amqp://h", store_url="redis://h").store_url == "redis://h"


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("reds://h", "did you mean redis://?"),
        ("localhost:6379", "it must be a URL with one of redis://"),
        ("http://h", "http:// cannot be a broker"),
        ("redis://h:port/0", "its host or port cannot be read"),
        ("redis://:pa/ss@h:6379", "inside a password as %2F"),
        ("redis+socket://run/redis.sock", "redis+socket:///run/redis/redis.sock"),
        ("redis://a;htp://b", "htp:// cannot be a broker"),
    ],
)
def test_an_unusable_broker_url_is_refused(site: Path, url: str, wrong: str) -> None:
    assert wrong in the_problem(site, broker_url=url)


def test_the_batch_store_must_be_a_redis(site: Path) -> None:
    assert "amqp:// cannot be the batch store" in the_problem(site, broker_url="redis://h", store_url="amqp://h")


# Credentials


@pytest.mark.parametrize(
    "environ",
    [
        {"DISPATCHER_BROKER_URL": "http://user:hush@host"},
        {"DISPATCHER_BROKER_URL": "reds://:hu@hush@host"},
        {"DISPATCHER_BROKER_URL": "redis+socket://host/s?password=hush"},
        {"DISPATCHER_SEGMENT_WRITE_KEY": "hush"},
        {"DISPATCHER_SEGMENT__WRITE_KY": "hush"},
        {"DISPATCHER_PASWORD": "hush"},
        {"DISPATCHER_DESTINATIONS__SEGMENT__RETRY": '{"token": "hush"}'},
        {"DISPATCHER_BROKER": "redis://:hush@h"},
    ],
)
def test_no_error_shows_a_credential(site: Path, environ: dict[str, str]) -> None:
    assert "hush" not in "\n".join(problems_of(site, environ))


def test_no_repr_shows_a_credential(site: Path) -> None:
    settings = load(
        site,
        broker_url="redis://:hush@h",
        destinations={"segment": {"write_key": "hush", "proxy": {"password": "hush", "user": "ada"}}},
    )

    assert "hush" not in repr(settings)
    assert "hush" not in str(settings.destinations["segment"])
    assert "hush" not in repr(settings.origin)
    assert "ada" in repr(settings)
    assert settings.destinations["segment"].options["write_key"] == "hush"


def test_a_validation_error_of_the_schema_itself_shows_no_input() -> None:
    with pytest.raises(ValidationError) as caught:
        Settings(broker_url="http://:hush@h")

    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "key", ["write_key", "secret", "password", "token", "key", "api_secret", "apiToken", "WriteKey", "keys", "dsn"]
)
def test_a_key_that_looks_like_a_credential_is_masked(key: str) -> None:
    assert config.mask(key, "hush") == "***"
    assert config.mask("options", {key: ["hush"]}) == {key: "***"}


@pytest.mark.parametrize("key", ["host", "path", "events", "keyspace", "batch_bytes", "passenger"])
def test_another_key_is_shown(key: str) -> None:
    assert config.mask(key, "value") == "value"
    assert not may_be_secret("directory")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://user:pw@h:6379/0", "redis://user:***@h:6379/0"),
        ("redis://:p@w@h", "redis://:***@h"),
        ("redis://:p/w@h:1", "redis://:***@h:1"),
        ("sentinel://:a@x;sentinel://:b@y", "sentinel://:***@x;sentinel://:***@y"),
        ("https://h/?access_token=abc&page=2", "https://h/?access_token=***&page=2"),
        ("redis://h:6379/0", "redis://h:6379/0"),
    ],
)
def test_passwords_inside_urls_are_masked(url: str, shown: str) -> None:
    assert config.mask_url(url) == shown


# The object


def test_settings_cannot_be_changed(site: Path) -> None:
    settings = load(site)

    with pytest.raises(ValidationError):
        settings.strict = True  # type: ignore[misc]


def test_settings_can_be_made_in_code() -> None:
    settings = Settings(state_directory=Path("/s"), destinations={"tracking_log": DestinationSettings(type="segment")})

    assert settings.destinations["tracking_log"].type == "segment"
    assert settings.outbox_directory == Path("/s/outbox")


def test_each_value_knows_its_source(site: Path) -> None:
    site.joinpath("base.toml").write_text("[worker]\npool = 'solo'\n[destinations.segment]\nevents = ['a']\n")
    environ = {"HOME": "/h", "DISPATCHER_SETTINGS": str(site), "DISPATCHER_WORKER__CONCURRENCY": "2"}

    loaded = config.read(environ, {"relay": {"mode": "external"}})

    assert loaded.source(("worker", "pool")) == str(site / "base.toml")
    assert loaded.source(("worker", "concurrency")) == "DISPATCHER_WORKER__CONCURRENCY"
    assert loaded.source(("relay", "mode")) == "configure()"
    assert loaded.source(("relay", "linger_seconds")) == "default"
    assert loaded.source(("environment",)) == "default"
    assert loaded.files == (site / "base.toml", site / "development.toml")


def test_a_value_replaced_by_a_table_loses_its_source(site: Path) -> None:
    site.joinpath("base.toml").write_text("[destinations.segment]\nlabels = 'plain'\n")
    site.joinpath("development.toml").write_text("[destinations.segment.labels]\na = 'b'\n")

    loaded = config.read({"HOME": "/h", "DISPATCHER_SETTINGS": str(site)})

    assert loaded.settings.destinations["segment"].options == {"labels": {"a": "b"}}
    assert loaded.source(("destinations", "segment", "labels")) == str(site / "development.toml")


# The types' own options


def test_options_that_the_type_accepts_are_not_a_problem(site: Path) -> None:
    settings = load(site, destinations={"tracking_log": {}, "segment": {"write_key": "k"}})

    assert check_options(settings) == []


def test_options_are_checked_by_the_type_and_errors_name_their_source(site: Path) -> None:
    environ = {
        "HOME": "/h",
        "DISPATCHER_SETTINGS": str(site),
        "DISPATCHER_DESTINATIONS__SEGMENT__TIMEOUT": "long",
        "DISPATCHER_DESTINATIONS__SEGMENT__PIN": "[1]",
    }
    loaded = config.read(environ, {"destinations": {"segment": {"wrtie_ky": "hush", "batch_event": 3}}})

    problems = check_options(loaded.settings, loaded.source)

    source = "DISPATCHER_DESTINATIONS__SEGMENT__PIN, DISPATCHER_DESTINATIONS__SEGMENT__TIMEOUT, configure()"
    assert sorted(problems) == sorted(
        [
            f"{source}: destinations.segment.write_key: it is required; set it in the table, or as "
            "DISPATCHER_DESTINATIONS__SEGMENT__WRITE_KEY",
            'DISPATCHER_DESTINATIONS__SEGMENT__TIMEOUT: destinations.segment.timeout = "long": it must be a number',
            'DISPATCHER_DESTINATIONS__SEGMENT__PIN: destinations.segment.pin = "***": it must be text',
            'configure(): destinations.segment.wrtie_ky = "***": unknown setting; '
            "did you mean destinations.segment.write_key?",
            "configure(): destinations.segment.batch_event = 3: unknown setting; "
            "did you mean destinations.segment.batch_events?",
        ]
    )


def test_a_type_that_cannot_be_imported_is_a_problem_unless_disabled(site: Path) -> None:
    settings = load(
        site,
        destinations={
            "broken": {},
            "mine": {"type": "no.such.package:Class"},
            "off": {"type": "no.such.package:Class", "enabled": False},
        },
    )

    problems = check_options(settings)

    assert [problem.split(": ")[1] for problem in problems] == ["destinations.broken", "destinations.mine"]
    assert all("cannot be imported" in problem for problem in problems)


def test_a_type_is_loaded_by_its_name_or_path() -> None:
    assert load_type("segment") is load_type("config_sample_types:Http")
    assert issubclass(load_type("segment").Options, BaseModel)
    with pytest.raises(SettingsError, match="unknown destination type 'nothing'"):
        load_type("nothing")
    with pytest.raises(SettingsError, match="must be a subclass of Destination"):
        load_type("os:sep")


def test_a_secret_option_stays_secret(site: Path) -> None:
    settings = load(site, destinations={"segment": {"write_key": "hush"}})

    options = load_type("segment").Options.model_validate(settings.destinations["segment"].options)

    assert isinstance(options.write_key, SecretStr)


def test_reading_settings_imports_neither_celery_nor_redis() -> None:
    code = "import sys, dispatcher.config, dispatcher.routing; print({'celery', 'kombu', 'redis'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"


@pytest.mark.parametrize(
    ("own", "is_refused"),
    [
        ('[destinations.log]\ntype = "tracking_log"', True),
        ('[destinations.log]\ntype = "tracking_log"\n[destinations.tracking_log]\nenabled = false', False),
        ('[destinations.log]\ntype = "tracking_log"\n[destinations.tracking_log]\ninternal = false', False),
        ('[destinations.main]\ntype = "segment"\nwrite_key = "k"', False),
        ("[destinations.tracking_log]\ninternal = false", False),
    ],
)
def test_a_renamed_destination_is_not_brought_back_unseen(site: Path, own: str, is_refused: bool) -> None:
    file = site / "own.toml"
    file.write_text(own)

    loaded = config.read({"HOME": "/h", "DISPATCHER_SETTINGS": str(file), "DISPATCHER_ENV": "production"})
    problems = check_options(loaded.settings, loaded.source)

    assert bool(problems) is is_refused
    if is_refused:
        assert "destinations.tracking_log: it comes with dispatcher, beside log of the same type" in problems[0]
    assert "segment" not in loaded.settings.destinations
