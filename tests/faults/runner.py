"""Runner: plays one case in a directory of its own, and returns its result."""

from __future__ import annotations

import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.faults.account import Account
from tests.faults.case import Case, NotHereError
from tests.faults.stage import Say, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result of one case.

    Args:
        seed: The seed of its random choices.
        kept: The directory of its files, if they were kept.
        skipped: What the machine lacks for the case; empty if it was played.
    """

    case: Case
    account: Account
    seed: int
    seconds: float
    kept: Path | None = None
    skipped: str = ""


def play(
    case: Case,
    *,
    seed: int,
    short: bool = False,
    say: Say = lambda _: None,
    keep: bool = False,
    events: int | None = None,
) -> Result:
    """Play a case to its end. The same seed makes the same choices, at the moments that the machine allows.

    Args:
        short: Fewer strikes.
        say: Called with what happens now.
        events: How many events a long case emits.
        keep: Keep its files if it does not hold.
    """
    directory = Path(tempfile.mkdtemp(prefix=f"dispatcher-{case.name[:24]}-"))
    began = time.monotonic()
    skipped = ""
    account = Account()
    try:
        with Stage(directory, Random(f"{seed}:{case.name}"), short=short, say=say, events=events) as stage:
            case.play(stage)
            account = stage.finish(case.expected)
    except NotHereError as error:
        skipped = str(error)
    except AssertionError as error:
        # From the stage: something did not start, or did not happen in time.
        account = Account(problems=(f"it could not be played to its end: {error}",))
    kept = None if account.holds or not keep else directory
    if kept is None:
        shutil.rmtree(directory, ignore_errors=True)
    return Result(case=case, account=account, seed=seed, seconds=time.monotonic() - began, kept=kept, skipped=skipped)
