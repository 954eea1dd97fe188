"""The recipe and everything that differs from it by one change: labels, mixing, loss, optimiser in one table.

    python ablate.py configs/studies/one_change.py      see base.py beside it for what comes first

The same comparisons as labels.py, mixing.py, losses.py and optimizers.py; what they have in common is trained once.
"""

_base_ = "base.py"
name = "study_one_change"
study = dict(
    axes=[
        "student.teacher_weight=0.2 | "  # the recipe
        "student.teacher_weight=0.0 | "
        "student.hard_oof=True | "
        "student.mixing=mixup | "
        "student.mixing=gridmask | "
        "student.mixing=none | "
        "student.loss=focal | "
        "student.head=arcface | "
        "student.weight_decay=0.0 | "  # what Adam adds to the gradient is not what the others do; so all optimisers without
        "student.weight_decay=0.0 student.optimizer=adam student.warmup_steps=200 | "
        "student.weight_decay=0.0 student.optimizer=over9000 | "
        "student.weight_decay=0.0 student.optimizer=ranger",
    ],
)
