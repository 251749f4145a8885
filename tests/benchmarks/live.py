"""Live: how far the board's live page is behind the events, with one viewer, and what that costs the board."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

from tests.benchmarks.cpu import busy_seconds
from tests.benchmarks.emitters import open_emitter
from tests.benchmarks.place import Place
from tests.benchmarks.quantiles import quantiles
from tests.benchmarks.sample import data
from tests.benchmarks.servers import RedisServer
from tests.benchmarks.step import Plan, Result, Step
from tests.benchmarks.workers import Workers

_LOGIN: Final = "bench:a-password"
_SETTINGS: Final = {
    "DISPATCHER_DEBUG": "true",
    "DISPATCHER_BOARD__BASIC_AUTH": _LOGIN,
}
# Until relays and workers know that somebody looks, and the viewer how much it can show.
_SETTLE_SECONDS: Final = 4.0
_PATIENCE_SECONDS: Final = 60.0
# From the event's time to its row: both are of this machine's clock.
_OBSERVE: Final = """
window.lags = [];
new MutationObserver((records) => {
  for (const record of records) for (const row of record.addedNodes)
    window.lags.push(Date.now() - Date.parse(row.querySelector("time").dateTime));
}).observe(document.getElementById("events"), { childList: true });
"""


def steps(plan: Plan) -> Iterator[Step]:
    """One viewer, at a light rate and at more than it is shown."""
    for rate in plan.live_rates:
        yield Step(
            measurement="live",
            subject="ours",
            case=f"{rate:,}/s, one viewer",
            measure=measure,
            arguments={"rate": rate, "seconds": plan.live_seconds},
            environ=_SETTINGS,
        )


def measure(place: Place, *, rate: int, seconds: float) -> Result:
    """Quantiles of the time from an event's timestamp to its row, and the board's CPU in percent of a core."""
    # Needs Chromium, which the other rows do not.
    from tests.support.browser import Browser, missing

    if missing():
        return {"not_installed": ", ".join(missing())}
    with (
        RedisServer(place),
        Workers("ours", 1),
        _board() as (board, port),
        open_emitter("ours", place) as emitter,
        Browser() as browser,
    ):
        browser.open(f"http://{_LOGIN}@127.0.0.1:{port}/live")
        events = data()
        _emit(emitter, events, rate, _SETTLE_SECONDS)
        browser.run(_OBSERVE)
        began, cpu = time.monotonic(), busy_seconds(board.pid)
        _emit(emitter, events, rate, seconds)
        cpu, lasted = busy_seconds(board.pid) - cpu, time.monotonic() - began
        rates = str(browser.run("return document.getElementById('rates').textContent"))
        time.sleep(1.0)
        lags = list(browser.run("return window.lags"))
    found = quantiles([round(lag * 1e6) for lag in lags])
    behind = {name.replace("_us", "_ms"): value / 1000 for name, value in found.items() if name.endswith("_us")}
    return behind | {
        "rows_per_second": round(len(lags) / seconds, 1),
        "board_cpu_percent": round(100 * cpu / lasted, 2),
        "note": rates,
    }


def _emit(emitter: Any, events: Iterator[dict[str, Any]], rate: int, seconds: float) -> None:
    start = time.monotonic()
    for number in range(round(rate * seconds)):
        if (ahead := start + number / rate - time.monotonic()) > 0:
            time.sleep(ahead)
        emitter.emit(next(events))


@contextmanager
def _board() -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, "-m", "dispatcher", "board", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, _port(process.stdout)
        finally:
            process.terminate()


def _port(output: IO[str]) -> int:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if found := re.search(r"http://127\.0\.0\.1:(\d+)", output.readline()):
            return int(found[1])
    raise TimeoutError("the board did not say where it listens")
