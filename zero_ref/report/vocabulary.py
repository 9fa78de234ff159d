"""The words of page and terminal, and which of them a page may come to say."""

import re
from typing import Any

from zero_ref.launch.terminal import both_languages
from zero_ref.stages import STAGES

TERMINAL = ("summary_", "text_", "score_", "trace_", "own_")  # words that no page says
OF_SEVERAL = (  # that no page of one run says
    *("badge_", "figure_", "runs_", "scatter", "code_", "resting_formula", "stage_number", "step_time"),
)
OF_ONE = ("why_", "sentence", "against_", "scene_", "bench_")  # that no page of several runs says
OF_LOSS = (  # that no page of dry runs says
    *("loss_", "difference", "exactly_", "one_curve", "held_out", "no_common", "test_", "points_left"),
    *("weights", "same_weights", "other_weights", "last_loss", "each_step", "microseconds", "milliseconds"),
    *("first_and_last_loss", "peak_short"),
)
OF_OPTION = {  # that only a page of a run with the option says
    "why_three_micro": "micro_batches",
    **dict.fromkeys(("scene_shelf", "sentence_away", "tier_"), "offload"),
}


def why(record: dict[str, Any]) -> str:
    """How the words begin that say why a run sends as much as it does."""
    keeps = STAGES[record["stage"]].KEEPS
    if keeps["parameter"] == "1/N":
        return "why_three"
    return "why_two" if keeps["optimizer"] == "1/N" else "why_all_reduce"


def origin(record: dict[str, Any]) -> str:
    """ "run"; "dry" where nothing was computed; "old" where `predicted` is by formulas, not by a dry run."""
    if record["config"].get("device") == "meta":
        return "dry"
    return "run" if record["ranks"][0].get("formula") else "old"


def words() -> dict[str, dict[str, str]]:
    """Every word of the page and of the terminal: key -> language -> text."""
    return both_languages(__package__)


def words_for(records: list[dict[str, Any]], several: bool) -> dict[str, dict[str, str]]:
    """The words that a page of these records may say: none of other kinds of runs, or of calls not made."""
    steps = [step for record in records if (step := record.get("recorded_step"))]
    calls = {event[2] for step in steps for rank in step["ranks"] for event in rank["events"]}
    origins = {origin(record) for record in records}
    computed = origins != {"dry"}

    def asked(option: str) -> bool:
        return any(record["config"].get(option) not in (None, False, 1) for record in records)

    every = words()
    reasons = tuple({why(record) for record in records})
    timed = any(step.get("clocks") for step in steps)

    def is_said(key: str) -> bool:
        if key.startswith(TERMINAL) or key.startswith(OF_ONE if several else OF_SEVERAL):
            return False
        if key.startswith("why_") and not key.startswith(reasons):
            return False
        if key == "map_ring" and all(record["config"].get("reduce") != "ring" for record in records):
            return False
        if key == "scene_codes" and not (asked("code_weights") or asked("code_gradients")):
            return False
        if not computed and f"{key}_dry" in every:
            return False
        if (key.startswith(("lane_", "lanes_")) and not timed) or (key.startswith(OF_LOSS) and not computed):
            return False
        if any(key.startswith(name) and not asked(option) for name, option in OF_OPTION.items()):
            return False
        called = re.fullmatch(r"(?:begin|end)_(\w+?)(?:_all)?|((?:start|finish|await)_\w+)", key)
        if called and (called[1] or called[2]) not in calls:
            return False
        return not any(key.endswith(f"_{kind}") and kind not in origins for kind in ("dry", "old"))

    return {key: said for key, said in every.items() if is_said(key)}
