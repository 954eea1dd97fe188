"""The author's claim that a larger teacher is no worse, with the teachers whose ImageNet weights come with the installation.

    python ablate.py configs/studies/teachers_cpu.py       trains the teachers too, once each

EfficientNet-Lite0, Lite1 and Lite2, each at the size it was pretrained at, heads only: minutes each. Half of a student's target
is its teacher's out-of-fold labels. For EfficientNet-B1 and B4 and a GPU see teachers.py.
"""

_base_ = "base.py"
name = "study_teachers_cpu"
student = dict(
    oof=None,
    teacher_weight=0.5,
    epochs=24,
)
study = dict(
    axes=[
        "teacher.backbone=efficientnet_lite1 teacher.image_size=240 | "
        "teacher.backbone=efficientnet_lite0 teacher.image_size=224 | "
        "teacher.backbone=efficientnet_lite2 teacher.image_size=260",
    ],
)
