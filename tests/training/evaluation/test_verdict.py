"""The sentence: from made-up differences to what is said."""

import pytest

from train.evaluation.verdict import verdict


def _found(mean, low, high):
    return {"confidence": {"mean": mean, "ci95": [low, high]}}


def _rows(oracle, fixed, learned, **more):
    rows = [("random", {}), ("best_fixed", {"random": fixed}), ("cross_oracle", {"random": oracle})]
    rows.append(("learned", {"random": learned, **more}))
    return [
        {"name": name, "learned": name == "learned", "differences": found} for name, found in rows
    ]


def test_a_clear_gain_that_the_policy_found():
    said = verdict(
        _rows(
            _found(0.15, 0.12, 0.18),
            _found(0.10, 0.07, 0.13),
            _found(0.11, 0.09, 0.15),
            best_fixed=_found(0.01, -0.02, 0.04),
            motion=_found(-0.05, -0.08, -0.02),
        )
    )
    assert said == (
        "Where one looks matters on this data: looks that one classifier chooses with the label "
        "and another one judges gain +0.150 [+0.120 +0.180] and the best fixed position gains "
        "+0.100 [+0.070 +0.130] over random looks in confidence; the policy learned gains +0.110 "
        "[+0.090 +0.150] over random looks, not clearly different from best_fixed (+0.010 [-0.020 "
        "+0.040]), below motion (-0.050 [-0.080 -0.020])."
    )


@pytest.mark.parametrize(
    ("oracle", "fixed", "said"),
    [
        ((0.04, 0.02, 0.06), (0.01, -0.01, 0.03), "makes little difference"),
        ((0.00, -0.02, 0.02), (0.30, -0.01, 0.60), "makes no measurable difference"),
        ((-0.01, -0.02, -0.005), (0.0, -0.01, 0.01), "makes no measurable difference"),
        ((0.0, -0.02, 0.02), (0.06, 0.03, 0.09), "matters"),
    ],
)
def test_a_gain_counts_if_it_is_certain_and_matters_if_it_is_large(oracle, fixed, said):
    found = verdict(_rows(_found(*oracle), _found(*fixed), _found(0.0, -0.01, 0.01)))
    assert found.startswith(f"Where one looks {said} on this data")
    assert "the policy learned is not clearly different from random (+0.000" in found


def test_a_policy_below_random_is_said_to_be():
    found = verdict(_rows(_found(0.2, 0.1, 0.3), _found(0.1, 0.0, 0.2), _found(-0.1, -0.2, -0.05)))
    assert found.endswith("the policy learned is -0.100 [-0.200 -0.050] worse than random looks.")


def test_without_what_can_tell_nothing_is_said_never_by_the_greedy_oracle_alone():
    rows = [{"name": "greedy_oracle", "learned": False, "differences": {"random": _found(1, 1, 1)}}]
    assert verdict(rows) is None


@pytest.mark.parametrize(
    ("learned", "said"),
    [((0.1, 0.06, 0.14), "all the same the policy"), ((0.0, -0.1, 0.1), "so there was nothing")],
)
def test_a_policy_that_gains_where_the_measures_see_nothing_contradicts_them(learned, said):
    found = verdict(_rows(_found(0.0, -0.1, 0.1), _found(0.0, -0.1, 0.1), _found(*learned)))
    assert f"in confidence; {said}" in found
