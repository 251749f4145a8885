"""How an error of Redis is told: it does not answer, does not take a write, or answers with something else."""

from __future__ import annotations

from pathlib import Path

import pytest

from dispatcher.connections.redis_pool import RedisPool
from dispatcher.errors import StoreUnavailableError
from tests.support.refusing_server import RefusingServer

SCRIPT = "Error running script (call to f_4a54): @user_script:118: @user_script: 118: "


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("OOM command not allowed when used memory > 'maxmemory'.", "did not take it"),
        ("READONLY You can't write against a read only replica.", "did not take it"),
        ("MISCONF Redis is configured to save RDB snapshots", "did not take it"),
        ("NOREPLICAS Not enough good replicas to write.", "did not take it"),
        (f"ERR {SCRIPT}-READONLY You can't write against a read only replica.", "did not take it"),
        ("LOADING Redis is loading the dataset in memory", "does not answer"),
        ("WRONGTYPE Operation against a key holding the wrong kind of value", "answered with an error"),
        ("ERR unknown command", "answered with an error"),
        ("NOPERM this user has no permissions to run the 'get' command", "does not let its user do that"),
    ],
)
def test_an_answer_is_told_as_what_it_is(tmp_path: Path, answer: str, told: str) -> None:
    path = tmp_path / "redis.sock"
    with RefusingServer(path, answer):
        pool = RedisPool(f"unix://{path}", timeout_seconds=30)
        with pytest.raises(StoreUnavailableError, match=told):
            pool.execute("GET", "a")
        pool.close()


def test_a_server_that_is_not_there_does_not_answer() -> None:
    pool = RedisPool("redis://127.0.0.1:1/0", timeout_seconds=1)

    with pytest.raises(StoreUnavailableError, match=r"does not answer: .*Connection refused"):
        pool.execute("GET", "a")
