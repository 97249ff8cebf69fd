"""What a scenario must be beyond its types: references that lead somewhere, and work that can be done."""

from collections.abc import Iterator, Sequence
from itertools import pairwise

from steelyard.config.base import did_you_mean
from steelyard.config.source import KeyPath, Source
from steelyard.errors import Problem
from steelyard.sim.arrivals import ArrivalTrace, OnOff, Profile
from steelyard.sim.policies import labels
from steelyard.sim.scenario import ENDPOINTS_MAX, EndpointGroup, Fault, Scenario
from steelyard.sim.units import VIRTUAL_S_MAX, YEAR_S, seconds_written

__all__ = [
    "REQUESTS_DEFAULT",
    "endpoint_names",
    "fault_endpoints",
    "problems_of",
    "requests_a_second",
]

REQUESTS_DEFAULT = 400_000


def endpoint_names(groups: tuple[EndpointGroup, ...]) -> list[str]:
    """One for each endpoint: its group's, and its number where that is not the only one."""
    names: list[str] = []
    for group in groups:
        base = group.name or "endpoint"
        alone = group.name is not None and group.count == 1
        names += [base if alone else f"{base}-{len(names) + n}" for n in range(group.count)]
    return names


def fault_endpoints(fault: Fault, groups: tuple[EndpointGroup, ...]) -> list[int]:
    """The numbers of the endpoints it happens to; empty where a name is nobody's."""
    names = endpoint_names(groups)
    members: dict[str, list[int]] = {name: [number] for number, name in enumerate(names)}
    first = 0
    for group in groups:
        if group.name is not None:
            members.setdefault(group.name, []).extend(range(first, first + group.count))
        first += group.count
    numbers: list[int] = []
    for one in fault.endpoint:
        if isinstance(one, int):
            numbers += [one] if 0 <= one < len(names) else []
        else:
            numbers += members.get(one, [])
    return list(dict.fromkeys(numbers))


def problems_of(scenario: Scenario, source: Source) -> list[Problem]:
    """Everything that is wrong, each at its place."""
    return [source.problem(path, message, hint) for path, message, hint in mistakes(scenario)]


Mistake = tuple[KeyPath, str, str | None]


def mistakes(scenario: Scenario) -> Iterator[Mistake]:
    yield from in_general(scenario)
    yield from in_length(scenario)
    yield from in_endpoints(scenario)
    for index, fault in enumerate(scenario.faults):
        yield from in_fault(scenario, fault, ("faults", index))
    yield from in_faults_together(scenario)


def in_general(scenario: Scenario) -> Iterator[Mistake]:
    if scenario.requests is not None and scenario.duration is not None:
        yield ("duration",), '"requests" says already how long a replication is', "keep one of them"
    seen: set[str] = set()
    for index, label in enumerate(labels(scenario.policies)):
        if label in seen:
            yield ("policies", index), f'"{label}" is compared with itself', "take it out"
        seen.add(label)
    for index, policy in enumerate(scenario.policies):
        if policy.interpreted is not None:
            message = "no time passes for an interpreted policy in a simulation"
            yield ("policies", index), message, 'take python_policy = "interpreted" out: then it is compiled'
    if scenario.load == "bytes":
        yield ("load",), "requests of a simulation have no bytes", 'compare "requests" or "latency"'
    if scenario.threshold.bytes_per_second is not None:
        yield (
            ("threshold", "bytes_per_second"),
            "requests of a simulation have no bytes",
            "a threshold on requests or latency can be tried",
        )


def in_length(scenario: Scenario) -> Iterator[Mistake]:
    """A virtual clock ends, too, and a run of centuries is a slip of the pen."""
    if scenario.duration is not None or isinstance(scenario.arrivals, ArrivalTrace):
        return
    requests, rate = scenario.requests or REQUESTS_DEFAULT, requests_a_second(scenario, ())
    if rate > 0 and requests / rate > VIRTUAL_S_MAX:
        message = (
            f"{requests} requests at this rate take {requests / rate / YEAR_S:.3g} years of virtual time"
        )
        yield ("arrivals",), message, f"at most {VIRTUAL_S_MAX // YEAR_S}: fewer requests, or a higher rate"


def in_endpoints(scenario: Scenario) -> Iterator[Mistake]:
    total = sum(group.count for group in scenario.endpoints)
    if total > ENDPOINTS_MAX:
        yield ("endpoints",), f"there are {total} endpoints", f"at most {ENDPOINTS_MAX}"
    if not any(group.weight for group in scenario.endpoints):
        yield ("endpoints",), "every endpoint has weight 0, so that none takes a request", "weight = 1"
    names: dict[str, int] = {}
    for index, group in enumerate(scenario.endpoints):
        if group.name is not None:
            if group.name in names:
                yield (
                    ("endpoints", index, "name"),
                    f'"{group.name}" is the name of another group',
                    "each group has its own",
                )
            names[group.name] = index
    if len(names) < sum(group.name is not None for group in scenario.endpoints):
        return
    taken: dict[str, int] = {}
    for index, group in enumerate(scenario.endpoints):
        first = sum(one.count for one in scenario.endpoints[:index])
        for name in endpoint_names(scenario.endpoints)[first : first + group.count]:
            if taken.setdefault(name, index) != index:
                yield (
                    ("endpoints", index, "name"),
                    f'"{name}" is the name of an endpoint of another group',
                    "the endpoints of a group are numbered: a-0, a-1 and so on",
                )
                return


def in_fault(scenario: Scenario, fault: Fault, path: KeyPath) -> Iterator[Mistake]:
    total = sum(group.count for group in scenario.endpoints)
    names = endpoint_names(scenario.endpoints)
    known = [*(group.name for group in scenario.endpoints if group.name), *names]
    for one in fault.endpoint:
        if isinstance(one, int) and not 0 <= one < total:
            yield (
                (*path, "endpoint"),
                f"there is no endpoint {one}",
                f"they are numbered from 0 to {total - 1}",
            )
        elif isinstance(one, str) and one not in known:
            hint = did_you_mean(one, known) or f"the first is {names[0]}"
            yield (*path, "endpoint"), f'there is no endpoint "{one}"', hint
    if fault.until is not None and fault.until <= fault.at:
        yield (
            (*path, "until"),
            f"{seconds_written(fault.until)} is not after the beginning at {seconds_written(fault.at)}",
            "both are counted from the beginning of the run",
        )
    if fault.kind == "slow" and fault.factor is None:
        yield (*path, "factor"), "this key is missing", "how many times slower, for instance factor = 10.0"
    if fault.kind != "slow" and fault.factor is not None:
        yield (*path, "factor"), f'"{fault.kind}" has no factor', 'only kind = "slow" has one'
    if fault.kind == "add" and fault.until is not None:
        yield (*path, "until"), "an endpoint that was added stays", 'a later kind = "stop" takes it away'
    if scenario.duration is not None and fault.at >= scenario.duration:
        yield (
            (*path, "at"),
            f"the run ends at {seconds_written(scenario.duration)}, before this happens",
            "duration is how long a replication lasts",
        )
    answer_due = scenario.timeouts is not None and (scenario.timeouts.response or scenario.timeouts.total)
    if fault.kind == "hang" and fault.until is None and not answer_due:
        yield (
            (*path, "kind"),
            "requests to an endpoint that hangs would never end",
            'give it until = "...", or write [timeouts] with response = "30s"',
        )


def in_faults_together(scenario: Scenario) -> Iterator[Mistake]:
    """Two faults of one endpoint at one time would leave open which of them holds."""
    by_endpoint: dict[int, list[tuple[float, float, int]]] = {}
    for index, fault in enumerate(scenario.faults):
        end = fault.at if fault.kind == "add" else fault.until if fault.until is not None else float("inf")
        for endpoint in fault_endpoints(fault, scenario.endpoints):
            by_endpoint.setdefault(endpoint, []).append((fault.at, end, index))
    told: set[int] = set()
    names = endpoint_names(scenario.endpoints)
    for endpoint, spans in by_endpoint.items():
        for (_, end, first), (start, _, second) in pairwise(sorted(spans)):
            if start < end and second not in told:
                told.add(second)
                yield (
                    ("faults", second, "at"),
                    f"{names[endpoint]} still has the fault that began at "
                    f"{seconds_written(scenario.faults[first].at)}",
                    'end that one before: until = "..."',
                )


def requests_a_second(scenario: Scenario, trace_s: Sequence[float]) -> float:
    """How many arrive on average; `trace_s` is when, for a trace."""
    arrivals = scenario.arrivals
    match arrivals:
        case OnOff():
            cycle = arrivals.on + arrivals.off
            return (arrivals.rate_on * arrivals.on + arrivals.rate_off * arrivals.off) / cycle
        case Profile():
            return profile_rate(arrivals.points, scenario.duration)
        case ArrivalTrace():
            span = trace_s[-1] if trace_s else 0.0
            return len(trace_s) / span if span > 0 else 0.0
        case _:
            return arrivals.rate


def profile_rate(points: tuple[tuple[float, float], ...], duration: float | None) -> float:
    """The mean over the run; where it is as long as its requests last, the rate that it ends with."""
    last_s, last_rate = points[-1]
    if duration is None and (last_rate > 0 or last_s == 0):
        return last_rate
    end = duration if duration is not None else last_s
    requests = 0.0
    for (start, low), (stop, high) in pairwise([*points, (max(end, last_s), last_rate)]):
        upto = min(stop, end)
        if upto > start:
            at_end = low + (high - low) * (upto - start) / (stop - start)
            requests += (low + at_end) / 2 * (upto - start)
    return requests / end
