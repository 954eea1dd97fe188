"""Training that is killed or given out in parts ends as one that is not."""

from helpers import assert_same_weights, refusal, run_script
from processes import kill_once_there


def test_killed_student_goes_on_and_ends_with_the_same_weights(trained, workplace):
    options = ["--cfg-options", "name=killed", f"student.oof={trained / 'oof.csv'}"]
    again = workplace / "runs" / "killed" / "student"
    for last in ("last.pth", "final_last.pth"):  # once in each stage
        kill_once_there(again / last, run_script, "m11.py", "config.py", *options, cwd=workplace)
    assert not (again / "averaged.pth").exists()
    run_script("m11.py", "config.py", *options, cwd=workplace)
    for name in ("best.pth", "last.pth", "averaged.pth"):
        assert_same_weights(trained / "student" / name, again / name)


def test_folds_given_out_one_by_one_make_the_same_table(trained, workplace):
    options = ["--cfg-options", "name=parts"]
    run_script("e4.py", "config.py", "--fold", 2, *options, cwd=workplace)
    told = refusal("e4.py", "config.py", "--merge", *options, cwd=workplace)
    assert "fold is not trained yet (2 of 3 are missing)" in told
    for fold in (0, 1):
        run_script("e4.py", "config.py", "--fold", fold, *options, cwd=workplace)
    run_script("e4.py", "config.py", "--merge", *options, cwd=workplace)
    assert (workplace / "runs" / "parts" / "oof.csv").read_bytes() == (trained / "oof.csv").read_bytes()
