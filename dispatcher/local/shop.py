"""Shop: a collector for the board's shop, whose buttons emit as a site's page does. On one machine, for a newcomer."""

from __future__ import annotations

import json
from typing import Final

from dispatcher.config.board import SHOP_KEY
from dispatcher.installation import launch
from dispatcher.local.supervisor import Child

#: Where it listens: for pages of this machine alone.
HOST: Final = "127.0.0.1"
# Seconds that it may take to end.
_GRACE_SECONDS: Final = 10.0


def shop_collector(port: int, board_port: int) -> Child:
    """A collector beside the site's own, which takes events from the shop's page.

    Args:
        port: Where it listens.
        board_port: Of the board, whose page the shop is.
    """
    origins = [f"http://{host}:{board_port}" for host in (HOST, "localhost")]
    environ = {
        "DISPATCHER_SOURCES": json.dumps({"shop": {"write_key": SHOP_KEY, "origins": origins}}),
        # The site's own collector may have that of the settings.
        "DISPATCHER_COLLECTOR__METRICS_PORT": "0",
        "DISPATCHER_COLLECTOR__PROCESSES": "1",
    }
    command = launch.command("dispatcher", "collector", "--host", HOST, "--port", str(port))
    return Child("shop", command, environ, grace_seconds=_GRACE_SECONDS)
