"""The oracles of what the checker says, tried on statements of which it is known whether they are so.

Of each wrong answer its own statement is true. That of another one is a mistake that the checker could make:
an oracle that takes it for true would let it pass. Where both are true of one answer, OVERLAPS says so.
"""

from dataclasses import replace

import pytest
import truth_of
from confusion import answers
from mutants import check
from truth import judge, oracle_of

from lessons.checker import words

OVERLAPS = {  # exercise: what is said -> answers of which it is so, too
    "01": {"other_result": {"other_order"}},
    "04": {
        "same_every_epoch": {"not_shuffled", "one_order"},
        "seed_ignored": {"not_shuffled", "one_order"},
    },
    "07": {"gathers_all": {"ranks_differ"}, "ranks_differ": {"gathers_all"}},
    "14": {"reduced_too_often": {"always_per_micro_batch"}},
    "15": {
        "never_looks": {"inf_overlooked", "steps_on_overflow", "updates_anyway"},
        "never_grows": {"scaler_untouched", "halves_always", "good_not_counted"},
    },
    "16": {"more_sums": {"by_elements", "summed_twice"}},
    "13": {"unfit": {"not_sharded"}},  # which has the same line first
    "17": {"kept_stage": {"kept_whole", "kept_divided"}},
    "19": {
        "rest_lost": {"not_computed"},
        "written_later": {"not_waited", "written_before"},
        "not_read": {"not_waited"},
        "read_before_write": {"not_written"},
        "no_overlap": {"not_read"},
        "write_waited": {"no_overlap"},
    },
    "21": {"more_inside": {"whole_vector", "group_number"}, "exchanged": {"whole_between"}},
    "23": {"uneven": {"all_on_one"}},
    "24": {
        "gathers_more": {"zero2_drops"},
        "no_reduce": {"reduce_too_early", "own_only", "reduces_late"},
    },
}


def is_here(exercise: str, key: str) -> bool:
    """Whether a statement is tried by truth_of.py, or by a twin."""
    oracle = oracle_of(exercise, key)
    return oracle is None or oracle.__module__ == truth_of.__name__


@pytest.mark.rest("all wrong answers of an exercise", every=26)
@pytest.mark.parametrize("exercise", [e for e in words.exercises() if e >= "01"])
def test_what_is_said_of_one_answer_is_not_taken_for_true_of_another(exercise):
    texts = answers(exercise)
    results = check(exercise, texts, limit=5.0)
    told = {name: r for name, r in results.items() if r.diagnosis and r.diagnosis.state != "not_started"}
    for key, of_key in told.items():
        ran = any("evidence" in r for ranks in of_key.outcome.reports.values() for r in ranks.values())
        if key != of_key.diagnosis.key or not is_here(exercise, key) or not (ran or oracle_of(exercise, key)):
            continue
        so = {
            name: judge(exercise, texts[name], replace(r, diagnosis=of_key.diagnosis), results[""], of_key)
            for name, r in told.items()
        }
        assert so.pop(key, True), key
        found = {name for name, true in so.items() if true}
        assert found == OVERLAPS.get(exercise[:2], {}).get(key, set()), key
