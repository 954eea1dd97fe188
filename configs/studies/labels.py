"""Hard labels against the recipe's 2:8 mixing with the teacher's out-of-fold predictions, soft and reduced to their arg-max.

    python e4.py configs/clothing_cpu.py                     once, for the soft labels
    python ablate.py configs/studies/labels.py

On clothing-dataset-small with the settings for two CPU cores, fewer epochs and three seeds; for another data set or a GPU change
_base_, or call `ablate.py CONFIG --axis ...` with the axis below.
"""

_base_ = "../clothing_cpu.py"
name = "study_labels"
student = dict(oof="runs/clothing_cpu/oof.csv", epochs=12)
study = dict(
    axes=[
        "student.teacher_weight=0.0 | "
        "student.teacher_weight=0.2 | "
        "student.teacher_weight=0.2 student.hard_oof=True | "
        "student.teacher_weight=0.5",
    ],
    seeds=3,
)
