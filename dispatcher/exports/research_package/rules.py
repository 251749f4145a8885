"""Rules: for which partners a line of the tracking log is, and why not for others. Pure.

``edx`` are the rules by which edX made its packages, step by step and with their odd cases, so that a package comes out
the same to the byte. ``default`` mends where they lose what a site of today logs; docs/how-to/research-package.md has
both side by side.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from dispatcher.exports.research_package.course_key import CourseKey, find_course_key, parse_course_key

RulesName = Literal["default", "edx"]
#: Why a line is in no package.
Dropped = Literal["unparseable", "no_time", "outside", "host", "organisation", "not_for_export", "course"]

# What edX took to be no server of its students.
_EDX_HOSTS: Final = ("studio.edx.org", "")
_FALSE: Final = frozenset({"n", "f", "0", "false", "no"})
# As edX's middleware cut them: what it logged of a request had so many characters.
_CUT_CHARACTERS: Final = 512
_decode: Final = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True, kw_only=True)
class Partner:
    """Who gets a package.

    Args:
        name: The organisation, as course keys have it.
        other_names: Other organisations whose lines belong to it.
        courses: The only courses whose lines it gets; empty: all.
    """

    name: str
    other_names: Sequence[str] = ()
    courses: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes of a line.

    Args:
        partners: The names of those who get it.
        date: Of which day's file it is, as YYYY-MM-DD.
        dropped: Why it is in no package; None where it is in one.
        steps: What was looked at, for people; empty unless it was asked for.
    """

    partners: Sequence[str] = ()
    date: str = ""
    dropped: Dropped | None = None
    steps: Sequence[str] = ()


class Rules:
    """Decides about lines. Safe in threads.

    Args:
        partners: All partners.
        rules: By which rules.
        excluded_hosts: Lines of these hosts are in no package. None: those of the rules.
        since: The first day; empty: from the first line on.
        until: The day behind the last one; empty: to the last line.
    """

    def __init__(
        self,
        partners: Sequence[Partner],
        rules: RulesName,
        *,
        excluded_hosts: Sequence[str] | None = None,
        since: str = "",
        until: str = "",
    ) -> None:
        self._is_edx = rules == "edx"
        self._hosts = frozenset((_EDX_HOSTS if self._is_edx else ()) if excluded_hosts is None else excluded_hosts)
        self._since, self._until = since, until
        self._courses = {partner.name: frozenset(partner.courses) for partner in partners}
        self._of_name: dict[str, list[str]] = {}
        for partner in partners:
            for name in (partner.name, *partner.other_names):
                self._of_name.setdefault(name, []).append(partner.name)

    def decide(self, line: bytes, steps: list[str] | None = None) -> Decision:
        """Decide about a line.

        Args:
            line: As it stands in the log.
            steps: Gets a sentence for each step.
        """
        said = steps.append if steps is not None else _nothing
        record = parse(line)
        if record is None:
            said("It cannot be parsed: from its first to its last brace it is not one JSON object.")
            return Decision(dropped="unparseable")
        date, dropped = self.find_day(record)
        partners: Sequence[str] = ()
        if dropped == "no_time":
            said("Neither context.received_at nor time says a day.")
        elif dropped is not None:
            first, end = self._since or "the first of the log", self._until or "the end of the log"
            said(f"Its day, {date}, is outside of those from {first} to before {end}.")
        else:
            said(f"Its day is {date}.")
            partners, dropped = self._find_partners(record, said)
        return Decision(partners, date, dropped)

    def _find_partners(
        self, record: Mapping[str, Any], said: Callable[[str], object]
    ) -> tuple[Sequence[str], Dropped | None]:
        if "host" in record and record["host"] in self._hosts:
            said(f"Its host, {json.dumps(record['host'])}, is excluded.")
            return (), "host"
        name = self._find_organisation(record)
        partners = self._of_name.get(name, []) if isinstance(name, str) else []
        if not partners:
            said(f"Its organisation, {json.dumps(name)}, is not a partner's." if name else "It names no organisation.")
            return (), "organisation"
        said(f"Its organisation is {name}: for {', '.join(partners)}.")
        data = payload_of(record)
        if data and str(data.get("_export", "true")).lower() in _FALSE:
            said("Its payload says by _export that it is not for export.")
            return (), "not_for_export"
        taken = [partner for partner in partners if self._takes_course(partner, record)]
        if not taken:
            said(f"Its course, {json.dumps(course_of(record))}, is not among the partner's courses.")
            return (), "course"
        said(f"It is in the package of {', '.join(taken)}.")
        return taken, None

    def find_day(self, record: Mapping[str, Any]) -> tuple[str, Dropped | None]:
        """The day of a line, as YYYY-MM-DD, and why the line is in no package of that day, if so."""
        day = self._find_date(record)
        if not day:
            return "", "no_time"
        is_outside = day < self._since or (self._until and day >= self._until)
        return day, "outside" if is_outside else None

    def _find_date(self, record: Mapping[str, Any]) -> str:
        context = _object(record.get("context"))
        time = context["received_at"] if "received_at" in context else record.get("time")
        if not time and not self._is_edx:
            time = record.get("time")
        return time.partition("T")[0] if isinstance(time, str) else ""

    def _find_organisation(self, record: Mapping[str, Any]) -> Any:
        try:
            found = _edx_organisation(record)
        except (AttributeError, KeyError, TypeError, IndexError):
            found = None
        if self._is_edx or (isinstance(found, str) and found in self._of_name):
            return found
        # Pages of micro-frontends have no /courses/ in their address, and tasks no address at all.
        context = _object(record.get("context"))
        key = context.get("course_id")
        course = parse_course_key(key.strip()) if isinstance(key, str) else None
        return context.get("org_id") or (course.org if course is not None else found)

    def _takes_course(self, partner: str, record: Mapping[str, Any]) -> bool:
        courses = self._courses[partner]
        return not courses or course_of(record) in courses


def parse(line: bytes) -> Mapping[str, Any] | None:
    """The object that a line is, or that stands in it from its first to its last brace. None otherwise."""
    for text in (line, _between_braces(line)):
        if text is None:
            return None
        try:
            found = _decode(text)
        except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
            try:
                found = json.loads(text)
            except (ValueError, RecursionError):
                continue
        return found if isinstance(found, dict) else None
    return None


def course_of(record: Mapping[str, Any]) -> str | None:
    """The course of a line, as edX finds it: in the context, else in the address of the request or of the page."""
    key = course_key_of(record)
    return None if key is None else key.text


def course_key_of(record: Mapping[str, Any]) -> CourseKey | None:
    """The key of ``course_of``."""
    context = record.get("context")
    if context is None:
        return None
    given = _object(context).get("course_id") or ""
    given = given.strip() if isinstance(given, str) else ""
    if given:
        return parse_course_key(given)  # one that is not understood stays so
    address = {"server": record.get("event_type"), "browser": record.get("page")}.get(str(record.get("event_source")))
    return find_course_key(address) if isinstance(address, str) else None


def payload_of(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The payload as an object; None where edX takes it for none, and so for what may be exported."""
    event = record.get("event")
    if event == "":
        return {}
    if isinstance(event, str):
        if len(event) == _CUT_CHARACTERS and "POST" in event:
            return None  # cut off
        if "{" not in event and "=" in event:
            return None  # fields of a form
        try:
            event = json.loads(event)
        except (ValueError, RecursionError):
            return None
    return event if isinstance(event, dict) else None


def _edx_organisation(record: Mapping[str, Any]) -> Any:
    """The organisation by edX's rules. Raises what a line of another shape causes: then it has none."""
    source = record["event_source"]
    if source == "browser":
        page = record["page"]
        return _organisation_in(page, 4) if "courses" in page else None
    if source not in ("server", "mobile"):
        return None
    organisation = record.get("context", {}).get("org_id")
    if organisation or source == "mobile":
        return organisation
    event_type = record["event_type"]
    if "/courses/" in event_type:
        return _organisation_in(event_type, 2)
    return None if "/" in event_type else record["event"]["problem_id"].split("/")[2]


def _organisation_in(address: str, place: int) -> str:
    key = find_course_key(address)
    # Of old keys edX took the part at this place, whatever it is.
    return address.split("/")[place] if key is None or key.is_old else key.org


def _between_braces(line: bytes) -> bytes | None:
    start, end = line.find(b"{"), line.rfind(b"}")
    return None if start < 0 or end < start or line[end + 1 :].strip() else line[start : end + 1]


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _nothing(_: str) -> None:
    return
