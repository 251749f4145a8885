"""``dispatcher retirement``: edX's pipeline asks for a user to be forgotten, and each answer is true when given."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner, Result

from dispatcher.cli import main
from dispatcher.forgetting.requests import Requests
from tests.support.site import Site

TOKEN = "a-hidden-token-for-the-tests"


class Answer(NamedTuple):
    status: int
    retry_after: str | None
    body: dict[str, Any]


Ask = Callable[..., Answer]


@pytest.fixture
def service(in_site: Site) -> Callable[..., Ask]:
    def start(**environ: str) -> Ask:
        child = in_site.processes.dispatcher("retirement", "--port", "0", DISPATCHER_RETIREMENT__TOKEN=TOKEN, **environ)
        child.wait_for_output("http://")
        place = urlsplit(next(line for line in child.output.splitlines() if line.startswith("http://"))).netloc

        def ask(user_id: Any, *, token: str = TOKEN, body: bytes | None = None) -> Answer:
            """As GenericRetirementApi does it: the path with a slash, JSON, and the LMS's own token."""
            connection = http.client.HTTPConnection(place, timeout=60)
            try:
                headers = {"Content-type": "application/json", "Authorization": "JWT e30.e30.x"}
                sent = json.dumps({"edx_lms_user_id": user_id}).encode() if body is None else body
                connection.request("POST", f"/retire/{token}/", sent, headers)
                answer = connection.getresponse()
                return Answer(answer.status, answer.headers["Retry-After"], json.loads(answer.read()))
            finally:
                connection.close()

        return ask

    return start


def forget(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["forget", *arguments], catch_exceptions=False)


def write_log(site: Site, *user_ids: int) -> None:
    lines = [
        {"name": "a.b", "time": "2026-11-29T10:00:00+00:00", "context": {"user_id": user_id}, "event": {}}
        for user_id in user_ids
    ]
    site.log.write_text("".join(json.dumps(line) + "\n" for line in lines))


def users_in(site: Site) -> list[int]:
    found = [json.loads(line) for path in site.log.parent.glob("tracking.log*") for line in _lines(path)]
    return sorted(line["context"]["user_id"] for line in found if line.get("context", {}).get("user_id"))


def _lines(path: Path) -> Iterator[bytes]:
    if path.is_file() and path.suffix not in {".lock", ".appends"}:
        yield from (line for line in path.read_bytes().splitlines() if line.startswith(b"{"))


def test_a_request_is_kept_then_done_then_known_to_be_done(in_site: Site, service: Callable[..., Ask]) -> None:
    write_log(in_site, *[7] * 300, 42)
    ask = service()

    first = ask(42)
    assert (first.status, first.body["state"]) == (202, "requested")
    assert ask(42) == first, "asked again, it is one request"
    assert users_in(in_site).count(42) == 1, "and nothing is done yet"

    looked = forget("--requested")
    assert looked.exit_code == 0, looked.output
    assert users_in(in_site).count(42) == 1
    done = forget("--requested", "--do")
    assert done.exit_code == 0, done.output
    assert users_in(in_site) == [7] * 300

    after = ask(42)
    assert (after.status, after.body["state"]) == (200, "forgotten")
    receipts = in_site.settings().state_directory / "forgetting" / "receipts"
    assert (receipts / f"{after.body['receipt']}.json").exists()
    kept = [path.read_text() for path in (receipts.parent / "requests").iterdir()]
    assert [text for text in kept if "42" in json.loads(text).values()] == []
    assert "0 requests" in forget("--requested", "--do").stderr


def test_one_that_is_refused_holds_up_no_other(in_site: Site, service: Callable[..., Ask]) -> None:
    write_log(in_site, *[7] * 300, 42)
    ask = service()
    assert [ask(user_id).status for user_id in (7, 42)] == [202, 202]

    done = forget("--requested", "--do")

    assert done.exit_code == 1
    assert "--max-share" in done.stderr
    assert users_in(in_site) == [7] * 300
    assert [ask(user_id).status for user_id in (7, 42)] == [202, 200]


def test_a_pipeline_that_waits_is_told_to_come_again(in_site: Site, service: Callable[..., Ask]) -> None:
    ask = service(DISPATCHER_RETIREMENT__WAITS="true")

    answer = ask(42)
    assert (answer.status, answer.retry_after) == (503, "60")
    assert [request.user_id for request in Requests(in_site.settings()).waiting()] == ["42"]
    assert forget("--requested", "--do").exit_code == 0
    assert ask(42).status == 200


def test_a_body_that_names_nobody_is_refused(in_site: Site, service: Callable[..., Ask]) -> None:
    ask = service()
    bodies = (b"", b"[42]", b"{}", b"[" * 4000, b" " * 5000 + b'{"edx_lms_user_id": 42}', b'{"edx_lms_user_id": 1e3}')

    answers = [
        *(ask(user_id) for user_id in ("42", True, 0, -1, 10**30, None)),
        *(ask(0, body=body) for body in bodies),
    ]

    assert {answer.status for answer in answers} == {400}
    assert all("edx_lms_user_id" in answer.body["error"] for answer in answers)
    assert list(Requests(in_site.settings()).waiting()) == []


def test_nobody_asks_without_the_token_and_no_log_has_it(in_site: Site, service: Callable[..., Ask]) -> None:
    ask = service()

    assert ask(42, token="another").status == 404
    assert ask(42).status == 202
    (output,) = (in_site.directory / "output").iterdir()
    assert "http://" in output.read_text()
    assert TOKEN not in output.read_text()


def test_a_request_that_cannot_be_kept_is_answered_503(in_site: Site, service: Callable[..., Ask]) -> None:
    ask = service()
    directory = in_site.settings().state_directory / "forgetting"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "requests").write_text("in the way")

    assert ask(42).status == 503
    (directory / "requests").unlink()
    assert ask(42).status == 202


@pytest.mark.parametrize("token", [None, "short", "with a blank, and long enough"])
def test_it_does_not_start_without_a_token_that_can_be_one(
    token: str | None, in_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    if token is not None:
        monkeypatch.setenv("DISPATCHER_RETIREMENT__TOKEN", token)

    result = CliRunner().invoke(main, ["retirement", "--port", "0"])

    assert result.exit_code == 3
    assert "retirement.token" in result.stderr or "DISPATCHER_RETIREMENT__TOKEN" in result.stderr
    assert token is None or token not in result.stderr


def test_requests_and_identifiers_are_not_given_together(in_site: Site) -> None:
    assert forget("--requested", "--user", "42").exit_code == 2
