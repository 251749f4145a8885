"""Board target: a board whose buttons work, asked with its login and without it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tests.fuzz.attack import Attack, Seed
from tests.fuzz.sender import Result
from tests.fuzz.target import BROKEN
from tests.support.board import LOGIN, PERSONAL, Watched, open_board
from tests.support.dead_letters import add_dead_letters, an_event
from tests.support.processes import memory_bytes
from tests.support.redis_server import RedisServer
from tests.support.site import open_site

_AUTHORIZATION: Final = "Basic " + b64encode(LOGIN.encode()).decode()
_LETTERS: Final = 20


def board_seeds(token: str, letter_id: str) -> tuple[Seed, ...]:
    """Good requests of who has the login, and the same of who has not.

    Args:
        token: That of the board's page.
        letter_id: Of a dead letter of Segment.
    """
    orders: list[dict[str, Any]] = [
        {"action": action, "destination": "segment", "reason": "oversized", "seconds": 5, "at_once": True, "count": 1}
        for action in ("retry", "pause", "resume", "replay", "drop")
    ]
    posts = [("/api/plan", order) for order in orders] + [("/api/do", order) for order in orders]
    posts.append(("/api/dead/show", {"destination": "segment", "id": letter_id}))
    asked = [
        ("/api/dead", {"destination": "segment", "reason": "oversized"}),
        ("/api/waiting", {"destination": "segment"}),
    ]
    plain = ["/", "/board.css", "/api/session", "/api/ledger", "/api/history", "/nowhere"]
    login, page = ("Authorization", _AUTHORIZATION), ("X-Board-Token", token)
    seeds = []
    for headers in ((login,), ()):
        seeds += [Seed(method="POST", path=path, headers=(*headers, page), body=body) for path, body in posts]
        seeds += [
            Seed(method="GET", path=path, target=f"{path}?", headers=headers, body=query, form="query")
            for path, query in asked
        ]
        seeds += [Seed(method="GET", path=path, headers=headers, form="none") for path in plain]
    return tuple(seeds)


class BoardTarget:
    """``dispatcher board`` with dead letters that must not be seen. Its address is ``port``."""

    has_raw: Final = False
    description: Final[Mapping[str, Any]] = {}
    headers: Final = ()

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        add_dead_letters(watched.site.store, *(an_event(n, text=PERSONAL) for n in range(_LETTERS)))
        letters = watched.ask("/api/dead?destination=segment").json["letters"]
        self.port: Final = watched.port
        self.seeds: Final = board_seeds(watched.token, letters[-1]["id"])

    def memory_bytes(self) -> int:
        return memory_bytes(self._watched.board.pid)

    def notes(self) -> list[str]:
        return []

    def leaks(self, attack: Attack, result: Result) -> Iterator[str]:
        """What was shown to who has no login, or in another place than where one asks for it."""
        has_login = any(_AUTHORIZATION.encode() in part for part in attack.parts)
        for answer in result.answers:
            # uvicorn answers 400 to what it cannot read, before the board sees it.
            is_unread = answer.status == 400 and answer.body == b"Invalid HTTP request received."
            if not has_login and answer.status != 401 and not is_unread:
                yield f"answered {answer.status} without a login"
            if PERSONAL.encode() in answer.body and not (has_login and attack.call == ("POST", "/api/dead/show")):
                yield f"{attack.call} showed the data of an event"

    def findings(self, unharmed: set[str]) -> Iterator[str]:
        board = self._watched.board
        if not board.running:
            yield f"the board ended with {board.process.returncode}: {board.output[-300:]!r}"
        elif broken := BROKEN.search(board.output):
            yield f"the board logged {board.output[broken.start() : broken.start() + 500]!r}"
        if PERSONAL in board.output:
            yield "the board logged the data of an event"
        for name, counts in self._watched.site.ledger().destinations.items():
            if not counts.closes:
                yield f"the ledger of {name} does not close: {counts}"


@contextmanager
def open_board_target(directory: Path) -> Iterator[BoardTarget]:
    """A board with a Redis behind it. Ends what it started.

    Args:
        directory: For all files.
    """
    with RedisServer() as redis, open_site(directory, redis) as site, open_board(site) as watched:
        yield BoardTarget(watched)
