"""Wrong labels: the author's claim is that out-of-fold soft labels help, and where labels are wrong they should most.

    python benchmarks/noise.py configs/studies/noise.py

which moves labels, trains a teacher on them and students of four kinds. Minutes a student on one core; --shard 0/2 and 1/2 side by
side, with num_threads=1 each.
"""

_base_ = "base.py"
name = "study_noise"
teacher = dict(backbone="efficientnet_lite0", image_size=160)  # each share of wrong labels takes one of its own
student = dict(
    oof=None,  # its own teacher's, who learnt from the same wrong labels
    epochs=24,
    num_views=8,
)
study = dict(
    axes=[
        "student.distillation=none | "
        "student.teacher_weight=0.2 | "
        "student.teacher_weight=0.5 | "
        "student.teacher_weight=0.5 student.distillation=views",
    ],
)
