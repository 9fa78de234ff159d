"""One step as Chrome's trace events, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

The format is described in "Trace Event Format" (Google, 2016). A process is a rank: one track of passes
through units, one of collectives, a counter of bytes alive by kind and one of their total. Times are
microseconds after the first rank began the step, by one clock for all ranks (train/clocks.py); otherData has
the host of each and within how many microseconds its clock is known. So an arrow can go from the rank
that came last to a collective to all that waited for it. Of a dry run times are the numbers of the events,
and a track of its own says so.
"""

from typing import Any

from zero_ref.ledger import KINDS
from zero_ref.report.meetings import COMPUTE as PASSES
from zero_ref.report.meetings import meetings
from zero_ref.report.page import numbers
from zero_ref.report.vocabulary import origin, words

NOTE, COMPUTE, COLLECTIVE = 0, 1, 2  # the tracks


def make_trace(record: dict[str, Any]) -> dict[str, Any]:
    """The trace of the record's recorded step, an object that JSON can hold."""
    step, dry = record["recorded_step"], origin(record) == "dry"
    note = " / ".join(words()["trace_dry"].values())
    events: list[dict[str, Any]] = []
    for rank, recorded in zip(numbers(record), step["ranks"]):
        for track, name in ((COMPUTE, "compute"), (COLLECTIVE, "collectives")):
            events.append(metadata("thread_name", rank, track, name=name))
        process = f"rank {rank} (dry run)" if dry else f"rank {rank}"
        events.append(metadata("process_name", rank, 0, name=process))
        events.append(metadata("process_sort_index", rank, 0, sort_index=rank))
        if dry:
            events += over_all(rank, recorded, note)
        events += events_of_rank(rank, recorded, [unit["name"] for unit in step["units"]])
    events += arrows(record)
    events.sort(key=lambda event: event["ts"])  # those of one moment keep their order
    about = {"stage": record["stage"], "world_size": record["world_size"], "step": step["step"]}
    about |= {"dry_run": note} if dry else {}
    about |= {"clocks_host_and_within_us": step["clocks"]} if step.get("clocks") else {}
    return {"otherData": about, "traceEvents": events, "displayTimeUnit": "ms"}


def over_all(rank: int, recorded: dict[str, Any], note: str) -> list[dict[str, Any]]:
    """A track of its own with one event, as long as the step, whose name is a note."""
    last = max([event[0] for event in recorded["events"]], default=0.0)
    event = {"ph": "X", "name": note, "cat": "note", "pid": rank, "tid": NOTE, "ts": 0.0, "dur": last}
    return [metadata("thread_name", rank, NOTE, name="dry run"), event | {"args": {}}]


def metadata(about: str, rank: int, track: int, **arguments: Any) -> dict[str, Any]:
    return {"ph": "M", "name": about, "pid": rank, "tid": track, "ts": 0, "args": arguments}


def events_of_rank(rank: int, recorded: dict[str, Any], units: list[str]) -> list[dict[str, Any]]:
    """Complete events ("X") for collectives and passes, counters ("C") for memory, by time."""
    live = dict.fromkeys(KINDS, 0)
    for kept in recorded["kept"]:
        for kind, (nbytes, _) in kept.items():
            live[kind] += nbytes
    events = counters(rank, 0.0, live)
    begun: list[dict[str, Any]] = []
    for microseconds, what, name, unit, nbytes, _, place in recorded["events"]:
        if what == "begin":
            track = COMPUTE if name in PASSES else COLLECTIVE
            arguments = {"unit": None if unit is None else units[unit], "place": recorded["places"][place]}
            title = name if unit is None else f"{name} {units[unit]}"
            event = {"ph": "X", "name": title, "cat": name, "pid": rank, "tid": track, "ts": microseconds}
            begun.append(event | {"dur": 0.0, "args": arguments})
            events.append(begun[-1])
        elif what == "end":
            ended = begun.pop()
            ended["dur"] = round(microseconds - ended["ts"], 1)
            if ended["tid"] == COLLECTIVE:
                ended["args"]["sent_bytes"] = nbytes
        else:
            live[name] += nbytes
            events += counters(rank, microseconds, live)
    return events


def counters(rank: int, microseconds: float, live: dict[str, int]) -> list[dict[str, Any]]:
    """Bytes alive: a track of all kinds, one upon the other, and a track of the total, to read off."""
    tracks = {"memory (bytes)": dict(live), "memory, total (bytes)": {"total": sum(live.values())}}
    about = {"ph": "C", "pid": rank, "tid": 0, "ts": microseconds}
    return [about | {"name": name, "args": args} for name, args in tracks.items()]


def arrows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Flow events ("s" to "f") from the last rank's call of each collective to each that waited for it."""
    ranks, events = numbers(record), []
    for number, meeting in enumerate(meetings(record)):
        last = meeting.last()
        for waiting in meeting.ends:
            if waiting.row == last.row:
                continue
            about = {"name": "waited for", "cat": "flow", "tid": COLLECTIVE, "id": f"{number}.{waiting.row}"}
            events.append(about | {"ph": "s", "pid": ranks[last.row], "ts": last.begin})
            events.append(about | {"ph": "f", "bp": "e", "pid": ranks[waiting.row], "ts": waiting.end})
    return events
