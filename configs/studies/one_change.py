"""The author's comparisons: the recipe, and everything that differs from it by one change of mixing, loss, head or optimiser.

python ablate.py configs/studies/one_change.py      see base.py beside it for what comes first

The claims: CutMix >= MixUp > GridMask; cross-entropy > focal loss, and ArcFace brings nothing; RAdam > Adam with warm-up, and
Over9000 and Ranger are about as good. With labels for each view and twice the pictures of the other studies, as short
training favours whatever learns fast; eight minutes a trial. For some of it: --axis with a part of the list. Labels are
compared in soft_labels.py and noise.py.
"""

_base_ = "base.py"
name = "study_one_change"
student = dict(
    epochs=60,
    sampler="shuffle",
    distillation="views",
    teacher_weight=0.5,
    num_views=8,
)
study = dict(
    axes=[
        "student.mixing=cutmix | "  # the recipe
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
