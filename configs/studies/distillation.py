"""The claim: self-distillation through OOF labels does about as well as a teacher in the loop.

python ablate.py configs/studies/distillation.py   see base.py beside it for what comes first

On a CPU the teacher in the loop takes most of the time.
"""

_base_ = "base.py"
name = "study_distillation"
student = dict(online_teachers=["runs/clothing_cpu/teacher/fold0/best.pth"])
study = dict(
    axes=[
        "student.distillation=none,oof,online,both",
    ],
)
