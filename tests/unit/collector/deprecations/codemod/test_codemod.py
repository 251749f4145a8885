"""The codemod rewrites what is sure, names the rest, and touches nothing else of a file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from dispatcher.cli.main import main

pytest.importorskip("tree_sitter", reason="the extra codemod is not installed")
pytest.importorskip("tree_sitter_javascript")
pytest.importorskip("tree_sitter_typescript")

from dispatcher.collector.deprecations.codemod.rewrite import apply, rewrite
from dispatcher.collector.deprecations.codemod.source_file import find_files, read_file

REWRITTEN = {
    'Logger.log("a");': 'Tracker.emit("a");',
    'Logger.log("a", d, el);': 'Tracker.emit("a", d, {element: el});',
    'Logger.log("a", d, null)': 'Tracker.emit("a", d)',
    'window.log_event("a", {b: 1}, this, null)': 'window.Tracker.emit("a", {b: 1}, {element: this})',
    'Logger.log("a", b, c /* c */, null)': 'Tracker.emit("a", b, {element: c} /* c */, null)',
    'if (x) Logger.log("a", () => { log_event("b") })': 'if (x) Tracker.emit("a", () => { Tracker.emit("b") })',
    'x && window.Logger.log("a")': 'x && window.Tracker.emit("a")',
    'Logger.listen("a", null, (e) => {})': 'Tracker.on("a", null, (e) => {})',
    '$(a).click(() => Logger.log("a"))': '$(a).click(() => Tracker.emit("a"))',
    'define(["js/logger"], function(Logger) { Logger.log("a") })': (
        'define(["js/logger"], function(Logger) { Tracker.emit("a") })'
    ),
    'import Logger from "./logger"; Logger.log("a")': 'import Logger from "./logger"; Tracker.emit("a")',
}
KEPT = {
    'Logger.log("a").done(f)': "waits for the answer",
    'let a = Logger.log("a")': "what it returns is used",
    'p.then(() => Logger.log("a"))': "what it returns is used",
    'Logger.log("a", b, c, {success: f})': "options of the request",
    'if (window.Logger) { Logger.log("a") }': "behind a test for Logger",
    'Logger?.log("a")': "only if Logger is there",
    "Logger.bind()": "no successor",
    "f(Logger.log)": "handed on",
    'Logger["log"]("a")': "looked up by a text",
    "Logger.log(...a)": "spread",
    'Logger.listen("a", f)': "an element",
    'import Logger from "log4js"; Logger.log("a")': "own name there, or has a stand-in, from line 1",
    'if (typeof Logger === "undefined") { var Logger = {log: f} }; Logger.log("a")': "has a stand-in, from line 1",
    'function f(log_event) { log_event("a") }': "own name there",
    'Logger.log("a", {': "cannot be read",
}
STAYS = [
    '// Logger.log("a")',
    '"Logger.log(1)"',
    "`Logger.log(1)`",
    "MyLogger.log(1)",
    "a.Logger.log(1)",
    "Logger.info()",
]


def rewritten(code: str) -> str:
    return apply(code.encode(), rewrite(code.encode()).edits).decode()


@pytest.mark.parametrize("before", REWRITTEN)
def test_a_call_becomes_one_of_tracker(before: str) -> None:
    assert rewritten(before) == REWRITTEN[before]
    assert rewrite(before.encode()).kept == []


@pytest.mark.parametrize("code", KEPT)
def test_what_is_not_sure_stays_with_the_reason(code: str) -> None:
    found = rewrite(code.encode())
    assert found.edits == []
    assert [KEPT[code] in one.why for one in found.kept] == [True], found.kept


@pytest.mark.parametrize("code", STAYS)
def test_what_is_no_call_of_logger_is_not_named(code: str) -> None:
    found = rewrite(code.encode())
    assert (found.edits, found.kept) == ([], [])


NAMES = st.sampled_from(["Logger.log", "window.Logger.log", "log_event", "Logger.listen", "Logger.bind", "other"])
VALUES = st.sampled_from(['"é // x"', "`a${b}`", "{a: 1, b: [2]}", "null", "this", "/re/g", "(x, y) => x", "undefined"])
CALLS = st.builds(lambda name, values: f"{name}({', '.join(values)})", NAMES, st.lists(VALUES, max_size=5))
FRAMES = [
    "{};",
    "/* Logger.log(1) */ {}",
    "if (a) {{ {} }}",
    "f(function() {{ {}; }});",
    "var x = {};",
    "{}.done(f);",
    "window.Logger && {};",
    "// {}\n",
    "f({{a: () => {}}});",
    "function g(Logger) {{ {}; }}",
    "a ? {} : 0;",
    "for (;;) {};",
    "{",  # what is broken
    "<b onclick={{() => {}}}/>;",
]
CODE = st.lists(
    st.builds(lambda frame, call: frame.format(call) if "{}" in frame else frame, st.sampled_from(FRAMES), CALLS)
).map("\r\n".join)


@settings(max_examples=60, deadline=None)
@given(CODE)
def test_whatever_is_written_parses_and_a_second_run_changes_nothing(code: str) -> None:
    found = rewrite(code.encode())
    after = apply(code.encode(), found.edits)
    # It had refused what could not be read any more; nothing of a comment or a text goes.
    assert rewrite(after).edits == []
    assert len(rewrite(after).kept) == len(found.kept)
    for kind in (rb"/\*.*?\*/", rb"(?m)^// [^\r\n]*", rb'"[^"]*"', rb"`[^`]*`"):
        assert re.findall(kind, after) == re.findall(kind, code.encode())


PAGE = """<%page args="x"/>
<p onclick="Logger.log(&quot;a&quot;, {b: 1 &lt; 2}, this); return false">text</p>
<!-- <script>Logger.log("comment")</script> -->
<script type="text/javascript">
  % if user:
  Logger.log("seen", {id: ${user.id | n, js_escaped_string}, name: "${ {'a': 1}['a'] }"});
  % endif
  ## Logger.log("mako")
  Logger.log('b', {course: '<%= course %>', django: {{ django }}}, $(this), null);
</script>
<script type="text/template"><a onclick="log_event('in.template', {})">x</a></script>
"""
COURSE = """<problem>
<script type="loncapa/python">a = 1</script>
<script type="text/javascript"><![CDATA[ if (a < b && c) Logger.log("a", "t"); ]]></script>
<script>if (a &lt; b &amp;&amp; c) { log_event("b", {x: "&amp;quot;"}, el); }</script>
<html>&lt;script&gt;Logger.log(&quot;c&quot;)&lt;/script&gt;</html>
</problem>"""


def test_scripts_in_templates_and_courses_are_rewritten(tmp_path: Path) -> None:
    page, course, vue = tmp_path / "a.html", tmp_path / "p.xml", tmp_path / "c.vue"
    page.write_text(PAGE)
    course.write_bytes(COURSE.replace("\n", "\r\n").encode())
    vue.write_text('<script lang="ts">const a: string = "b"; Logger.log(a as any, <X>{});</script>')
    found = read_file(page)
    after = found.after.decode()
    assert 'onclick="Tracker.emit(&quot;a&quot;, {b: 1 &lt; 2}, {element: this}); return false"' in after
    assert 'Tracker.emit("seen", {id: ${user.id | n, js_escaped_string}, name: "${ {' in after
    assert "django: {{ django }}}, {element: $(this)});" in after
    assert 'Logger.log("comment")' in after
    assert 'Logger.log("mako")' in after
    assert [(one.line, "not read as a script" in one.why) for one in found.kept] == [(11, True)]
    found = read_file(course)
    assert found.calls == 3
    expected = COURSE.replace("Logger.log", "Tracker.emit").replace("log_event", "Tracker.emit")
    assert found.after.decode() == expected.replace(", el)", ", {element: el})").replace("\n", "\r\n")
    assert b"Tracker.emit(a as any, <X>{})" in read_file(vue).after


def test_encodings_stay_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    latin, marked, wide = tmp_path / "l.js", tmp_path / "b.js", tmp_path / "w.js"
    latin.write_bytes(b'// caf\xe9\r\nLogger.log("\xe9");')
    marked.write_bytes(b'\xef\xbb\xbfLogger.log("a");')
    wide.write_bytes('Logger.log("a")'.encode("utf-16"))
    assert read_file(latin).after == b'// caf\xe9\r\nTracker.emit("\xe9");'
    assert read_file(marked).after == b'\xef\xbb\xbfTracker.emit("a");'
    assert ["UTF-16" in one.why for one in read_file(wide).kept] == [True]
    assert read_file(tmp_path / "gone.js").kept[0].line == 0
    (tmp_path / "node_modules").mkdir()
    (tmp_path / "node_modules" / "a.js").touch()
    (tmp_path / "x.min.js").touch()
    (tmp_path / "link.js").symlink_to(latin)
    assert list(find_files([tmp_path, latin])) == [marked, latin, wide]


def test_the_command_shows_first_and_writes_then(tmp_path: Path) -> None:
    script = tmp_path / "a.js"
    script.write_text('Logger.log("a");\n')
    script.chmod(0o640)
    run = CliRunner().invoke(main, ["deprecations", "codemod", str(tmp_path)])
    assert (run.exit_code, script.read_text()) == (1, 'Logger.log("a");\n')
    assert '-Logger.log("a");\n+Tracker.emit("a");\n' in run.output
    assert "1 call in 1 file would be rewritten" in run.output
    run = CliRunner().invoke(main, ["deprecations", "codemod", "--write", str(tmp_path)])
    assert (run.exit_code, script.read_text()) == (0, 'Tracker.emit("a");\n')
    assert script.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in tmp_path.iterdir()] == ["a.js"]
    script.write_text("\n\nLogger.bind();\n")
    run = CliRunner().invoke(main, ["deprecations", "codemod", "--write", str(tmp_path)])
    assert run.exit_code == 1
    assert f"{script}:3: Logger.bind: it has no successor" in run.output
