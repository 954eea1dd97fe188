"""The claim: CutMix (alpha 1.0, p 0.5) >= MixUp (the same) > GridMask.

python ablate.py configs/studies/mixing.py          see base.py beside it for what comes first
"""

_base_ = "base.py"
name = "study_mixing"
study = dict(
    axes=[
        "student.mixing=cutmix,mixup,gridmask,none",
    ],
)
