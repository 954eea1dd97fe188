"""The recipe's claim, with clean labels and a longer training: a teacher's soft labels make the small student better.

    python e4.py configs/clothing_cpu.py                                     once, for the soft labels
    python benchmarks/noise.py configs/studies/soft_labels.py --shares 0     or --shard 0/2 and 1/2 side by side

100 passes over the pictures at 64 px, ten minutes a student on one core with num_threads=1.
"""

_base_ = "base.py"
name = "study_soft_labels"
student = dict(
    epochs=100,
    sampler="shuffle",
    num_views=8,
)
study = dict(
    axes=[
        "student.distillation=none | student.teacher_weight=0.2 | "
        "student.teacher_weight=0.2 student.hard_oof=True | student.teacher_weight=0.5 student.distillation=views",
    ],
)
