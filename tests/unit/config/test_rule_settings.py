"""The settings of rules: how they are written, and that every mistake is named at once with a remedy."""

from __future__ import annotations

import json
import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dispatcher import config
from dispatcher.cli.settings import settings
from dispatcher.config import DestinationSettings
from dispatcher.config.rules import Condition, MappingRule, PrivacySettings
from dispatcher.errors import SettingsError

VARIABLE = "DISPATCHER_DESTINATIONS__SEGMENT__"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site's own settings directory, with nothing in its files."""
    for name in ("base", "development"):
        tmp_path.joinpath(f"{name}.toml").write_text("")
    return tmp_path


def segment(site: Path, text: str = "", **variables: str) -> DestinationSettings:
    site.joinpath("base.toml").write_text(f"[destinations.segment]\n{text}")
    environ = {"HOME": "/home/sam", "DISPATCHER_SETTINGS": str(site)}
    return config.load(environ | {VARIABLE + key: value for key, value in variables.items()}).destinations["segment"]


def problems(site: Path, text: str, **variables: str) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        segment(site, text, **variables)
    return [line.removeprefix(f"{site}/base.toml: destinations.segment.") for line in caught.value.problems]


def problem(site: Path, text: str, **variables: str) -> str:
    found = problems(site, text, **variables)
    assert len(found) == 1, found
    return found[0]


# Reading


def test_settings_without_rules_are_valid(site: Path) -> None:
    table = segment(site)
    assert (table.mapping, table.consent, table.integration) == ((), None, None)
    assert table.privacy == PrivacySettings()
    assert (table.rate.per_second, table.rate.burst) == (None, None)
    assert table.options == {}


def test_a_rule_is_read(site: Path) -> None:
    table = segment(
        site,
        """
        consent = ["Analytics", "Advertising"]
        integration = "Own"
        [[destinations.segment.mapping]]
        events = ["edx.*", "!edx.bi.*"]
        when = { mode = "verified", "context.org_id" = ["A", "B"], percent = { at_least = 0.5, not = 1 } }
        name = "{name}!"
        pick = ["a"]
        set = { "context.integrations" = { All = false }, label = "{data.a|none}" }
        [[destinations.segment.mapping]]
        skip = true
        [destinations.segment.privacy]
        drop = ["a.*.b"]
        emails = "mask"
        [destinations.segment.rate]
        per_second = 40
        burst = 5
        """,
    )
    first, second = table.mapping
    assert table.consent == ("Analytics", "Advertising")
    assert table.integration == "Own"
    assert first.events == ("edx.*", "!edx.bi.*")
    assert first.when["mode"] == Condition(any_of=("verified",))
    assert first.when["context.org_id"].any_of == ("A", "B")
    assert (first.when["percent"].at_least, first.when["percent"].not_) == (0.5, (1,))
    assert (first.name, first.pick, first.skip) == ("{name}!", ("a",), False)
    assert first.set == {"context.integrations": {"All": False}, "label": "{data.a|none}"}
    assert second.skip
    assert (table.privacy.drop, table.privacy.emails) == (("a.*.b",), "mask")
    assert (table.rate.per_second, table.rate.burst) == (40, 5)


def test_every_key_has_a_variable(site: Path) -> None:
    table = segment(
        site,
        PRIVACY__EMAILS="drop",
        PRIVACY__HASH='["context.username"]',
        RATE__PER_SECOND="2.5",
        RATE__BURST="3",
        CONSENT='["Analytics"]',
        INTEGRATION="Own",
        MAPPING='[{"events": ["a"], "when": {"x": {"exists": true}}, "set": {"label": "{data.b}"}}]',
    )
    assert (table.privacy.emails, table.privacy.hash) == ("drop", ("context.username",))
    assert (table.rate.per_second, table.rate.burst) == (2.5, 3)
    assert (table.consent, table.integration) == (("Analytics",), "Own")
    assert table.mapping[0].set == {"label": "{data.b}"}


def test_the_rules_of_a_higher_layer_replace_those_below(site: Path) -> None:
    site.joinpath("development.toml").write_text("[[destinations.segment.mapping]]\nname = 'own'\n")
    table = segment(
        site, "[[destinations.segment.mapping]]\nname = 'base'\n[[destinations.segment.mapping]]\nskip = true"
    )
    assert [rule.name for rule in table.mapping] == ["own"]


def test_code_may_set_rules_too(site: Path) -> None:
    rule = MappingRule(drop=("a",))
    table: dict[str, Any] = {"mapping": [rule, {"skip": True}], "privacy": {"emails": "hash"}}
    environ = {"HOME": "/home/sam", "DISPATCHER_SETTINGS": str(site)}
    read = config.load(environ, {"destinations": {"segment": table}}).destinations["segment"]
    assert read.mapping == (rule, MappingRule(skip=True))
    again = config.load(environ, {"destinations": {"segment": read}}).destinations["segment"]
    assert again == read


# Mistakes

MISTAKES = {
    "mapping[0].evnts": ('evnts = ["a"]\nskip = true', "did you mean events?"),
    "mapping[0].colour": (
        "colour = 1\nskip = true",
        "the table can hold events, when, skip, hash, pick, drop, rename, set, name",
    ),
    "mapping[0].when.a.exsts": ("when = {a = {exsts = true}}\nskip = true", "did you mean exists?"),
    "mapping[0].when.a.equal": ("when = {a = {equal = 1}}\nskip = true", "the table can hold any_of, not, exists"),
    "mapping[0]: ": ("when = {a = 1}", "this rule does nothing: give it one of skip, name"),
    "mapping[0]:": ('skip = true\nname = "x"', "so that name would do nothing"),
    "mapping[0].events = []": ("events = []\nskip = true", "would never apply"),
    'mapping[0].events = ["!a"]': ('events = ["!a"]\nskip = true', 'add "*"'),
    "mapping[0].when.data": ("when = {data = 1}\nskip = true", "write data.KEY"),
    'mapping[0].when."a.*"': ('when = {"a.*" = 1}\nskip = true', "must name one field"),
    "mapping[0].when.a:": ("when = {a = {}}\nskip = true", "it says nothing"),
    "mapping[0].when.a.any_of": ("when = {a = []}\nskip = true", "name the values"),
    "mapping[0].when.a.any_of[0]": ("when = {a = [[1]]}\nskip = true", "it must be text, a number, true or false"),
    "mapping[0].when.a.matches": ('when = {a = {matches = "("}}\nskip = true', "it is not a regular expression"),
    "mapping[0].when.a: exists": ("when = {a = {exists = false, at_least = 1}}\nskip = true", "take one away"),
    "mapping[0].when.a: no": ("when = {a = {at_least = 2, at_most = 1}}\nskip = true", "swap them"),
    "mapping[0].when.a.at_least": ("when = {a = {at_least = true}}\nskip = true", "it must be a number"),
    "mapping[0].pick[1]": ('pick = ["a", "context"]', "write context.KEY"),
    "mapping[0].drop[0]": ('drop = ["a..b"]', "with a dot between them"),
    "mapping[0].hash[0]": ('hash = ["{a}"]', "with a dot between them"),
    'mapping[0].rename."a.*"': ('rename = {"a.*" = "b"}', "must name one field"),
    "mapping[0].rename.a": ('rename = {a = "b..c"}', "with a dot between them"),
    "mapping[0].set.label": ('set = {label = "{course_id}"}', "write {data.course_id}"),
    "mapping[0].set.a": ('set = {a = ["x", {b = "{data.x"}]}', "write {{ for the character"),
    "mapping[0].set.on": ("set = {on = 2026-11-23}", "write it as text, in quotes"),
    "mapping[0].set.n": ("set = {n = nan}", "not a value of JSON"),
    'mapping[0].set."a..b"': ('set = {"a..b" = 1}', "with a dot between them"),
    "mapping[0].set: ": ('set = {a = 1, "a.b" = 2}', "data.a.b is within another field"),
    "mapping[0].name": ('name = "{nmae}"', "one of {name}, {id}"),
    'mapping[0].name = " "': ('name = " "', "must not be empty"),
    "mapping[0].skip": ('skip = "perhaps"', "it must be true or false"),
    "privacy.emails": ('skip = true\n[destinations.segment.privacy]\nemails = "hsh"', "did you mean 'hash'?"),
    "privacy.mask[0]": ('skip = true\n[destinations.segment.privacy]\nmask = ["data"]', "write data.KEY"),
    "privacy.email": ('skip = true\n[destinations.segment.privacy]\nemail = "hash"', "privacy.emails?"),
    "rate.per_second": ("skip = true\n[destinations.segment.rate]\nper_second = 0", "it must be more than 0"),
    "rate.burst": ("skip = true\n[destinations.segment.rate]\nburst = true", "it must be a number"),
}


@pytest.mark.parametrize(
    ("key", "text", "way_out"), [(key, *rest) for key, rest in MISTAKES.items()], ids=list(MISTAKES)
)
def test_every_mistake_is_named_with_its_key_and_a_remedy(site: Path, key: str, text: str, way_out: str) -> None:
    found = problem(site, f"[[destinations.segment.mapping]]\n{text}")
    assert found.startswith(key)
    assert way_out in found


def test_all_mistakes_are_reported_at_once(site: Path) -> None:
    text = """
    consent = []
    [[destinations.segment.mapping]]
    evnts = ["a"]
    set = { a = "{b}", "c..d" = 1 }
    [[destinations.segment.mapping]]
    [destinations.segment.privacy]
    hash = ["data"]
    """
    assert [line.partition(" ")[0].rstrip(":") for line in problems(site, text)] == [
        "consent",
        "mapping[0].set.a",
        'mapping[0].set."c..d"',
        "mapping[0].evnts",
        "mapping[1]",
        "privacy.hash[0]",
    ]


def test_a_single_table_in_place_of_a_list_has_its_own_error(site: Path) -> None:
    found = problem(site, "[destinations.segment.mapping]\nskip = true\n")
    assert "[[destinations.NAME.mapping]]" in found


@pytest.mark.parametrize("text", ['consent = ["a", ""]', 'consent = [" a"]'])
def test_a_consent_category_is_text(site: Path, text: str) -> None:
    assert "consent category" in problem(site, text)


def test_the_value_of_a_misspelt_credential_is_not_shown(site: Path) -> None:
    assert "hidden" not in problem(site, '[[destinations.segment.mapping]]\nskip = true\napi_tokn = "hidden"')


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("consent", 'consent = ["a"]'),
        ("integration", 'integration = "X"'),
        ("mapping", "[[destinations.tracking_log.mapping]]\nskip = true"),
        ("privacy", '[destinations.tracking_log.privacy]\nemails = "hash"'),
    ],
)
def test_the_tracking_log_refuses_rules_and_says_why(site: Path, key: str, text: str) -> None:
    site.joinpath("base.toml").write_text(f"[destinations.tracking_log]\n{text}\n")
    with pytest.raises(SettingsError) as caught:
        config.load({"HOME": "/home/sam", "DISPATCHER_SETTINGS": str(site)})
    (line,) = caught.value.problems
    assert f"destinations.tracking_log.{key}" in line
    assert "the site's own record" in line


def test_the_tracking_log_refuses_a_rate_and_says_why(site: Path) -> None:
    site.joinpath("base.toml").write_text("[destinations.tracking_log.rate]\nper_second = 5\n")
    with pytest.raises(SettingsError) as caught:
        config.load({"HOME": "/home/sam", "DISPATCHER_SETTINGS": str(site)})
    (line,) = caught.value.problems
    assert "destinations.tracking_log.rate: the tracking log is a file" in line


# Showing


def run(site: Path, *arguments: str) -> Result:
    variables = {name: None for name in os.environ if name.upper().startswith("DISPATCHER_")}
    environ = {"HOME": "/home/sam", "XDG_STATE_HOME": None, "DISPATCHER_SETTINGS": str(site)}
    return CliRunner().invoke(settings, arguments, env=variables | environ)


RULES = """
[destinations.segment]
consent = ["Analytics"]
[[destinations.segment.mapping]]
events = ["edx.*"]
when = { mode = "verified", n = { at_least = 3.0, not = ["x", "y"] }, "context.org_id" = ["a", "b"] }
set = { label = "{data.course_id}", "context.integrations" = { All = false, "Google Analytics 4" = true } }
[[destinations.segment.mapping]]
set = { list = [1, { a = "b" }] }
[[destinations.segment.mapping]]
skip = true
[destinations.segment.privacy]
emails = "hash"
"""


def test_show_prints_rules_in_the_syntax_of_settings(site: Path) -> None:
    site.joinpath("base.toml").write_text(RULES)
    shown = run(site, "show").stdout
    values = tomllib.loads(shown)["destinations"]["segment"]
    written = tomllib.loads(RULES)["destinations"]["segment"]
    assert values["mapping"] == written["mapping"]
    assert values["consent"] == ["Analytics"]
    assert values["privacy"] == {"drop": [], "mask": [], "hash": [], "emails": "hash"}
    (line,) = [line for line in shown.splitlines() if line.startswith("mapping = [  ")]
    assert line.endswith(f"# {site / 'base.toml'}")


def test_show_prints_rules_as_json(site: Path) -> None:
    site.joinpath("base.toml").write_text(RULES)
    shown = json.loads(run(site, "show", "--json").stdout)["settings"]["destinations"]["segment"]
    assert shown["mapping"] == tomllib.loads(RULES)["destinations"]["segment"]["mapping"]


def test_check_accepts_good_rules_and_finds_bad_ones(site: Path) -> None:
    site.joinpath("base.toml").write_text(RULES)
    assert run(site, "check").exit_code == 0
    site.joinpath("base.toml").write_text(RULES.replace("{data.course_id}", "{course_id}"))
    result = run(site, "check")
    assert result.exit_code == 1
    assert "destinations.segment.mapping[0].set.label" in result.stderr
