"""The author's comparisons: the recipe, and everything that differs from it by one change of labels, mixing, loss or optimiser.

python ablate.py configs/studies/one_change.py      see base.py beside it for what comes first

The claims: labels mixed 2:8 with OOF predictions help; CutMix >= MixUp > GridMask; cross-entropy > focal loss, and ArcFace brings
nothing; RAdam > Adam with warm-up, and Over9000 and Ranger are about as good. For some of it: --axis with a part of the list.
"""

_base_ = "base.py"
name = "study_one_change"
study = dict(
    axes=[
        "student.teacher_weight=0.2 | "  # the recipe
        "student.teacher_weight=0.0 | "
        "student.teacher_weight=0.5 | "
        "student.hard_oof=True | "
        "student.mixing=mixup | "
        "student.mixing=gridmask | "
        "student.mixing=none | "
        "student.loss=focal | "
        "student.loss=ohem | "
        "student.head=arcface | "
        "student.weight_decay=0.0 | "  # what Adam adds to the gradient is not what the others do; so all optimisers without
        "student.weight_decay=0.0 student.optimizer=adam student.warmup_steps=200 | "
        "student.weight_decay=0.0 student.optimizer=over9000 | "
        "student.weight_decay=0.0 student.optimizer=ranger | "
        "student.weight_decay=0.0 student.optimizer=lamb",
    ],
)
