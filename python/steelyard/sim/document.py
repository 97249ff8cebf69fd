"""The one document that crosses to the simulator: times in seconds, groups expanded, traces read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelyard.config import Overlay
from steelyard.config.document import pool_of
from steelyard.config.pool import EndpointTable, Pool, PoolTimeouts, Subset
from steelyard.config.source import Source
from steelyard.config.units import U32_MAX
from steelyard.errors import ConfigError, Problem
from steelyard.sim.arrivals import Arrivals, ArrivalTrace, OnOff, Profile
from steelyard.sim.checks import (
    REQUESTS_DEFAULT,
    endpoint_names,
    fault_endpoints,
    requests_a_second,
)
from steelyard.sim.policies import labels
from steelyard.sim.result import TraceRead
from steelyard.sim.scenario import Scenario
from steelyard.sim.service import HyperExponential, LogNormal, Pareto, Service, ServiceTrace
from steelyard.sim.trace import Trace, TraceTable, read_trace
from steelyard.sim.units import VIRTUAL_S_MAX, YEAR_S

__all__ = ["Prepared", "prepare"]

POOL = "simulated"
# A pool's endpoints have addresses, a scenario's have none.
PLACEHOLDER = "127.0.0.1:1"
NO_TIMEOUTS = PoolTimeouts.model_validate(dict.fromkeys(PoolTimeouts.model_fields, "off"))


@dataclass(frozen=True)
class Prepared:
    """A document, and what should be said about it."""

    document: dict[str, Any]
    notices: tuple[str, ...]
    traces: tuple[TraceRead, ...]


def prepare(scenario: Scenario, source: Source, folder: Path) -> Prepared:
    """Reads the traces and puts everything together. Raises ConfigError."""
    arrival_trace, service_trace = traces(scenario, source, folder)
    notices = list(dict.fromkeys([*arrival_trace.notices, *service_trace.notices]))
    arrivals = arrivals_of(scenario.arrivals, arrival_trace)
    rate = requests_a_second(scenario, arrivals.get("times_s", []))
    names = endpoint_names(scenario.endpoints)
    requests = requests_of(scenario, arrival_trace)
    notices += late_faults(scenario, requests / rate if requests is not None and rate else None)
    pool = pool_document(scenario)
    pool.pop("policy")
    return Prepared(
        {
            "seed": scenario.seed,
            "requests": requests,
            "duration_s": scenario.duration,
            "warmup": scenario.warmup,
            "replications": scenario.replications,
            "balancers": scenario.balancers,
            "information_delay_s": scenario.information_delay,
            "ejection": scenario.ejection,
            "series_buckets": scenario.series_buckets,
            "policies": [
                {"label": label, "policy": pool_document(scenario, number)["policy"]}
                for number, label in enumerate(labels(scenario.policies))
            ],
            "endpoints": endpoints_of(scenario, names),
            "arrivals": arrivals,
            "service": service_of(scenario.service, service_trace),
            "keys": scenario.keys,
            "key_skew": scenario.key_skew,
            "cache": scenario.cache and scenario.cache.model_dump(),
            "pool": pool,
            "zone": scenario.zone,
            "faults": [
                {
                    "at_s": fault.at,
                    "endpoint": endpoint,
                    "kind": fault.kind,
                    "factor": fault.factor,
                    "until_s": fault.until,
                }
                for fault in scenario.faults
                for endpoint in fault_endpoints(fault, scenario.endpoints)
            ],
        },
        tuple(notices),
        tuple(dict.fromkeys(one.read for one in (arrival_trace, service_trace) if one.read)),
    )


def traces(scenario: Scenario, source: Source, folder: Path) -> tuple[Trace, Trace]:
    """What the traces say; empty where there is none."""
    read: dict[str, Trace] = {}
    # A log for both is read once: it may be a pipe, and it may be long.
    logs: dict[TraceTable, Trace] = {}
    problems: list[Problem] = []
    for key, table in (("arrivals", scenario.arrivals), ("service", scenario.service)):
        if not isinstance(table, ArrivalTrace | ServiceTrace):
            continue
        log = TraceTable(**{name: getattr(table, name) for name in TraceTable.model_fields})
        try:
            if log not in logs:
                logs[log] = read_trace(log, folder)
        except ConfigError as error:
            problems += error.problems
            continue
        read[key] = logs[log]
        missing = nothing_arrives(read[key]) if key == "arrivals" else nothing_takes_time(read[key])
        if missing:
            message, hint = missing
            problems.append(source.problem((key, "file"), message, hint))
    if problems:
        raise ConfigError(list(dict.fromkeys(problems)))
    return read.get("arrivals", Trace()), read.get("service", Trace())


def nothing_arrives(trace: Trace) -> tuple[str, str] | None:
    """Why the requests of a trace cannot be played one after the other, and what to do."""
    if not trace.arrivals_s:
        return "no line of the trace says when a request arrived", 'JSON lines need "time"'
    if len(trace.arrivals_s) == 1:
        return "the trace has only one request", "take a longer log, or arrivals of another kind"
    if trace.arrivals_s[-1] > VIRTUAL_S_MAX:
        return f"the trace is {trace.arrivals_s[-1] / YEAR_S:.3g} years long", "are its times in seconds?"
    if not any(trace.arrivals_s):
        return "all requests of the trace arrived at one moment", "take a log whose times are finer"
    return None


def nothing_takes_time(trace: Trace) -> tuple[str, str] | None:
    """The same of how long they take."""
    if not trace.durations_s:
        hint = 'JSON lines need "duration"; nginx writes it with $request_time at the end of its log_format'
        return "no line of the trace says how long a request took", hint
    if not any(trace.durations_s):
        return "every request of the trace took no time at all", 'write "duration" finer, such as 0.0004'
    return None


def requests_of(scenario: Scenario, trace: Trace) -> int | None:
    """How many in one replication; None where a duration says it."""
    if scenario.requests is not None or scenario.duration is not None:
        return scenario.requests
    return len(trace.arrivals_s) or REQUESTS_DEFAULT


def late_faults(scenario: Scenario, length_s: float | None) -> list[str]:
    """Faults that a run by number of requests will hardly reach."""
    if length_s is None:
        return []
    return [
        f"a replication takes about {length_s:.4g} s of virtual time, so the fault at {fault.at:.4g} s "
        "comes too late to be seen"
        for fault in scenario.faults
        if fault.at >= length_s
    ]


def pool_document(scenario: Scenario, policy: int = 0) -> dict[str, Any]:
    """What the engine reads of a pool with these tables, in the words of the configuration itself."""
    shared = {name: getattr(scenario, name) for name in Pool.model_fields if name in Scenario.model_fields}
    defaults = Pool.model_validate({"endpoints": [PLACEHOLDER]})
    # The simulator puts its own in their place, but levels follow from them.
    shared["endpoints"] = tuple(
        EndpointTable(address=PLACEHOLDER, priority=group.priority, zone=group.zone)
        for group in scenario.endpoints
    )
    pool = defaults.model_copy(
        update={
            **shared,
            "policy": scenario.policies[policy],
            "timeouts": scenario.timeouts or NO_TIMEOUTS,
            "subset": subset_of(scenario),
        }
    )
    document = pool_of(POOL, pool, scenario.zone, Overlay())
    return {key: value for key, value in document.items() if key not in ("name", "endpoints")}


def subset_of(scenario: Scenario) -> Subset | None:
    """That of the first balancer."""
    if scenario.subset is None:
        return None
    first = scenario.subset.instance
    instances = scenario.subset.instances or min(first + scenario.balancers, U32_MAX)
    return Subset.model_construct(size=scenario.subset.size, instance=first, instances=instances)


def endpoints_of(scenario: Scenario, names: list[str]) -> list[dict[str, Any]]:
    groups = [group for group in scenario.endpoints for _ in range(group.count)]
    return [
        {
            "name": name,
            "speed": group.speed,
            "concurrency": group.concurrency,
            "weight": group.weight,
            "waiting_room": group.waiting_room,
            "zone": group.zone or "",
            "priority": group.priority,
        }
        for name, group in zip(names, groups, strict=True)
    ]


def arrivals_of(arrivals: Arrivals, trace: Trace) -> dict[str, Any]:
    match arrivals:
        case OnOff():
            return {
                "kind": "on_off",
                "rate_on": arrivals.rate_on,
                "rate_off": arrivals.rate_off,
                "on_s": arrivals.on,
                "off_s": arrivals.off,
            }
        case Profile():
            return {"kind": "profile", "points": [list(point) for point in arrivals.points]}
        case ArrivalTrace():
            times_s = [time / arrivals.speed for time in trace.arrivals_s]
            return {"kind": "trace", "times_s": times_s}
        case _:
            return {"kind": arrivals.kind, "rate": arrivals.rate}


def service_of(service: Service, trace: Trace) -> dict[str, Any]:
    match service:
        case LogNormal() | HyperExponential():
            return {"kind": service.kind, "mean_s": service.mean, "c2": service.c2}
        case Pareto():
            return {
                "kind": "pareto",
                "mean_s": service.mean,
                "alpha": service.alpha,
                "bound_s": service.bound,
            }
        case ServiceTrace():
            return {"kind": "trace", "samples_s": trace.durations_s}
        case _:
            return {"kind": service.kind, "mean_s": service.mean}
