"""Shop: a collector for the board's shop, whose buttons emit as a site's page does. On one machine, for a newcomer."""

from __future__ import annotations

import json
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from dispatcher.config.board import SHOP_KEY
from dispatcher.errors import DispatcherError
from dispatcher.installation import launch
from dispatcher.installation.extras import install_command
from dispatcher.local.supervisor import Child

if TYPE_CHECKING:
    from dispatcher.config import Settings

#: Where it listens: for pages of this machine alone.
SHOP_HOST: Final = "127.0.0.1"
# Seconds that it may take to end.
_GRACE_SECONDS: Final = 10.0


def check_shop(settings: Settings, *, has_board: bool) -> None:
    """Refuse a shop that could not be opened.

    Args:
        settings: It needs debug, since its page shows what becomes of the clicks.
        has_board: Whether a board runs, on which it stands.

    Raises:
        DispatcherError: What is missing, and how to get it.
    """
    if not has_board:
        raise DispatcherError(f"the shop is a page of the board: leave --no-board out, and {install_command('board')}")
    if not all(find_spec(name) for name in ("uvicorn", "httptools")):
        raise DispatcherError(f"the shop needs a collector, which is not installed: {install_command('collector')}")
    if not settings.is_debug:
        raise DispatcherError(
            f"the shop is for development, and this is {settings.environment!r}: set DISPATCHER_DEBUG=true to open it"
        )


def shop_collector(port: int, board_port: int) -> Child:
    """A collector beside the site's own, which takes events from the shop's page.

    Args:
        port: Where it listens.
        board_port: Of the board, whose page the shop is.
    """
    origins = [f"http://{host}:{board_port}" for host in (SHOP_HOST, "localhost")]
    environ = {
        "DISPATCHER_SOURCES": json.dumps({"shop": {"write_key": SHOP_KEY, "origins": origins}}),
        # The site's own collector may have that of the settings.
        "DISPATCHER_COLLECTOR__METRICS_PORT": "0",
        "DISPATCHER_COLLECTOR__PROCESSES": "1",
    }
    command = launch.command("dispatcher", "collector", "--host", SHOP_HOST, "--port", str(port))
    return Child("shop", command, environ, grace_seconds=_GRACE_SECONDS)
