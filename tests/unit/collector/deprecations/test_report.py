"""What was counted by week becomes a row for each caller, and a letter."""

from __future__ import annotations

from datetime import UTC, date, datetime

from dispatcher.collector.deprecations.letter import write_letter
from dispatcher.collector.deprecations.report import make_report
from dispatcher.store.deprecated_calls import DeprecatedCall

COURSE = "course-v1:org+course+run"


def counted(event: str, week: int, count: int, course: str = COURSE, call: str = "Logger.log") -> DeprecatedCall:
    day = date(2026, 11, week)
    seen = datetime(2026, 11, week, 12, tzinfo=UTC)
    script = "https://example.org/quiz.js"
    return DeprecatedCall(call=call, event=event, script=script, course=course, week=day, count=count, last_seen=seen)


def test_weeks_are_summed_up_and_the_most_frequent_comes_first() -> None:
    report = make_report([counted("a", 9, 2), counted("b", 16, 5), counted("a", 16, 7), counted("", 9, 3, "", "")])
    assert [(one.event, one.count) for one in report.callers] == [("a", 9), ("b", 5)]
    assert report.callers[0].by_week == {date(2026, 11, 9): 2, date(2026, 11, 16): 7}
    assert report.callers[0].last_seen == datetime(2026, 11, 16, 12, tzinfo=UTC)
    assert (report.count, report.left_out) == (14, 3)


def test_a_course_is_chosen_and_so_is_what_is_outside_of_all() -> None:
    weeks = [counted("a", 9, 2), counted("a", 9, 3, "")]
    assert [one.count for one in make_report(weeks, COURSE).callers] == [2]
    assert [one.count for one in make_report(weeks, "").callers] == [3]
    assert make_report(weeks, "course-v1:other+course+run").callers == ()


def test_the_letter_says_what_calls_and_what_to_do() -> None:
    callers = make_report([counted(f"quiz.{n}", 9, n) for n in range(1, 31)]).callers
    letter = write_letter(COURSE, callers, weeks=4, until="on 2027-06-30", sender="Ada", help_url="https://e.org/h")
    assert letter.startswith(f"Subject: Logger.log in {COURSE}: please replace it before it is removed on 2027-06-30")
    assert 'Logger.log("quiz.30"): 30 times, the last on 2026-11-09\n    in https://example.org/quiz.js' in letter
    assert "and 5 more, 15 times" in letter
    assert 'Tracker.emit("name", {answer: 42});' in letter
    assert letter.endswith("https://e.org/h\n\nThank you,\nAda\n")
