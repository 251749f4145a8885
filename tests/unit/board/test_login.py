"""Who may look at the board."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

from dispatcher import config
from dispatcher.board.login import Logins, find_login
from dispatcher.errors import SettingsError


def header(text: str, scheme: str = "Basic") -> bytes:
    return f"{scheme} {b64encode(text.encode()).decode()}".encode()


def settings(tmp_path: Path, **environ: str) -> config.Settings:
    return config.load({"DISPATCHER_STATE_DIRECTORY": str(tmp_path), **environ})


@pytest.mark.parametrize("given", [header("ops:secret"), header("ops:secret", "basic"), header("zoë:pass:word")])
def test_a_right_login_is_let_in(given: bytes) -> None:
    assert Logins("ops:secret,zoë:pass:word").user(given) in ("ops", "zoë")


@pytest.mark.parametrize(
    "given",
    [
        *(header(text) for text in ("", ":", "ops", "ops:", "ops:secret2", "ops:secre", "zoë:secret", "OPS:secret")),
        header("ops:secret", "Bearer"),
        *(b"", b"Basic", b"Basic ", b"Basic !!!", b"Basic \xff\xfe", b"Basic " + b"A" * 100_000),
    ],
)
def test_any_other_is_not(given: bytes) -> None:
    assert Logins("ops:secret,zoë:pass:word").user(given) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "board.example.org"])  # noqa: S104
def test_a_board_that_others_reach_needs_a_login_of_the_settings(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError, match="DISPATCHER_BOARD__BASIC_AUTH=user:password"):
        find_login(settings(tmp_path, DISPATCHER_BOARD__HOST=host))
    assert find_login(settings(tmp_path, DISPATCHER_BOARD__HOST=host, DISPATCHER_BOARD__BASIC_AUTH="a:b")) == (
        "a:b",
        "",
    )


def test_one_that_only_this_machine_reaches_makes_a_password_and_keeps_it(tmp_path: Path) -> None:
    login, password = find_login(settings(tmp_path))
    assert login == f"dispatcher:{password}"
    assert len(password) >= 16
    assert find_login(settings(tmp_path)) == (login, password)
    assert (tmp_path / "board-password").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("login", ["ops", "ops:", ":hunter2", "ops:hunter2,"])
def test_half_a_login_is_no_setting_and_not_repeated(tmp_path: Path, login: str) -> None:
    with pytest.raises(SettingsError, match=r"board\.basic_auth") as refused:
        settings(tmp_path, DISPATCHER_BOARD__BASIC_AUTH=login)
    assert "hunter2" not in str(refused.value)
