"""Hard labels against the recipe's 2:8 mixing with the teacher's out-of-fold predictions, soft and reduced to their arg-max.

python ablate.py configs/studies/labels.py          see base.py beside it for what comes first
"""

_base_ = "base.py"
name = "study_labels"
study = dict(
    axes=[
        "student.teacher_weight=0.0 | "
        "student.teacher_weight=0.2 | "
        "student.teacher_weight=0.2 student.hard_oof=True | "
        "student.teacher_weight=0.5",
    ],
)
