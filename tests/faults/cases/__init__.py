"""The cases, by kind."""

from tests.faults.case import Case
from tests.faults.cases.analyst import analyst
from tests.faults.cases.collectors import collectors
from tests.faults.cases.crowds import crowds
from tests.faults.cases.dead_letters import dead_letters
from tests.faults.cases.disks import disks
from tests.faults.cases.handover import handover
from tests.faults.cases.joined import joined
from tests.faults.cases.kills import kills
from tests.faults.cases.operations import operations
from tests.faults.cases.outage import outage
from tests.faults.cases.power import power
from tests.faults.cases.redis_faults import redis_faults
from tests.faults.cases.sink_faults import sink_faults

_KINDS = (
    *(kills, joined, redis_faults, sink_faults, disks, power, crowds, dead_letters, operations, collectors, handover),
    analyst,
    outage,
)
CASES: dict[str, Case] = {case.name: case for kind in _KINDS for case in kind.all}
