"""The claim: self-distillation through OOF labels does about as well as a teacher in the loop.

    python e4.py configs/studies/distillation.py       once: teachers that know pictures as small as the students'
    python ablate.py configs/studies/distillation.py

On a CPU the teacher in the loop takes most of the time, so it is one of the five whose OOF labels the others learn from.
"""

_base_ = "base.py"
name = "study_distillation"
teacher = dict(image_size=96)
student = dict(
    oof="runs/study_distillation/oof.csv",
    online_teachers=["runs/study_distillation/teacher/fold0/best.pth"],
)
study = dict(
    axes=[
        "student.distillation=none,oof,online,both",
    ],
)
