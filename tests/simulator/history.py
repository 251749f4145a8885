"""History: one seed, played from its beginning to its result."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from tests.simulator.actions import begin, play
from tests.simulator.ground import Ground
from tests.simulator.healing import heal
from tests.simulator.plan import Action, Setting, plan_of, setting_of
from tests.simulator.result import Result, check
from tests.simulator.world import World


@dataclass(slots=True)
class History:
    """What was played, and its result.

    Args:
        seed: The seed of its plan.
        troubles: The troubles that it was limited to; empty for any.
        kept: The indexes of the actions that were played.
        result: What was lost, doubled or left behind.
        story: A line for each thing that happened; empty unless it was asked for.
    """

    seed: int
    troubles: tuple[str, ...]
    kept: tuple[int, ...]
    result: Result
    story: list[str] = field(default_factory=list)


def play_seed(
    ground: Ground,
    seed: int,
    *,
    troubles: Sequence[str] = (),
    kept: Sequence[int] | None = None,
    is_told: bool = False,
) -> History:
    """Play a seed's actions, or only those with an index in ``kept``."""
    plan = plan_of(seed, troubles)
    kept = range(len(plan)) if kept is None else kept
    ground.reset(seed)
    setting = setting_of(seed)
    world = World(ground, setting.version, is_told=is_told)
    try:
        _play(world, setting, seed, [plan[at] for at in kept if at < len(plan)])
        result = check(world)
    finally:
        _let_go(world)
    return History(seed, tuple(troubles), tuple(kept), result, world.story)


def _play(world: World, setting: Setting, seed: int, actions: Sequence[Action]) -> None:
    begin(world, setting)
    for action in actions:
        play(world, setting, action)
    heal(world, Random(f"heal {seed}"))


def _let_go(world: World) -> None:
    world.ground.crossings.is_full = False
    for web in list(world.webs):
        world.drop_web(web)
    for process in list(world.relays):
        world.drop_relay(process)
    if world.happened.total() % 64 == 0:
        gc.collect()
