"""Runner: plays one case in a directory of its own, and returns its result."""

from __future__ import annotations

import shutil
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from random import Random

from tests.faults.account import Account
from tests.faults.case import Case, NotHereError
from tests.faults.stage import Say, Stage

# Seconds of a lease where one may run out, and where none may.
_SHORT_LEASE = 2
_LONG_LEASE = 20


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
        with Stage(
            directory,
            Random(f"{seed}:{case.name}"),
            short=short,
            say=say,
            events=events,
            lease_seconds=_SHORT_LEASE if case.expected.repeats else _LONG_LEASE,
        ) as stage:
            case.play(stage)
            account = stage.finish(case.expected)
    except NotHereError as error:
        skipped = str(error)
    except AssertionError as error:
        # From the stage: something did not start, or did not happen in time.
        account = Account(problems=(f"it could not be played to its end: {error}",))
    except Exception:
        # One broken case must not cost the results of all others.
        account = Account(problems=(f"it broke off: {traceback.format_exc()[-1500:]}",))
    kept = None if account.holds or not keep else directory
    if kept is None:
        shutil.rmtree(directory, ignore_errors=True)
    return Result(case=case, account=account, seed=seed, seconds=time.monotonic() - began, kept=kept, skipped=skipped)


def play_all(
    cases: Sequence[Case],
    *,
    jobs: int,
    seed: int,
    short: bool = False,
    say: Callable[[str], None] = lambda _: None,
    keep: bool = False,
    events: int | None = None,
) -> Iterator[Result]:
    """Play several cases, ``jobs`` at a time, each in a process of its own; those that compare times alone, at the end.

    Args:
        cases: In the order in which they begin.
        jobs: With one, they are played in this process.
        seed: As ``play`` takes it, like ``short``, ``keep`` and ``events``.
        say: Called with what happens now. Cases side by side only say which have ended.

    Returns:
        The results, each as soon as it is there.
    """
    together = [case for case in cases if jobs > 1 and not case.is_alone]
    # Not forked: this process may have threads, of the progress bar among others.
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        playing = partial(play, seed=seed, short=short, keep=keep, events=events)
        for future in as_completed([pool.submit(playing, case) for case in together]):
            result = future.result()
            say(f"{result.case.name} has ended")
            yield result
    for case in cases:
        if case not in together:
            yield play(case, seed=seed, short=short, say=_prefixed(say, case.name), keep=keep, events=events)


def _prefixed(say: Say, name: str) -> Say:
    return lambda text: say(f"[bold]{name}[/] {text}")
