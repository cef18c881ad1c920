"""ONNX's own backend cases: none of those that apply may fail."""

import pytest

pytest.importorskip("onnx")

from tests.files.onnx.cases import cases, cases_folder, run_case

CASES = list(cases())
LEAST = 360  # cases that pass; more may, when layers come


@pytest.mark.heavy
def test_onnx_cases(tmp_path):
    if cases_folder() is None:
        pytest.skip("this wheel of onnx has no node cases: 1.22.0's has")
    outcomes = [run_case(case, tmp_path) for case in CASES]
    failed = [outcome for outcome in outcomes if outcome.how == "failed"]
    assert not failed
    assert sum(outcome.how == "passed" for outcome in outcomes) >= LEAST
