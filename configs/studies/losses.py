"""The claim: softmax cross-entropy > focal loss (alpha 0.25, gamma 2); ArcFace brings nothing.

python ablate.py configs/studies/losses.py          see base.py beside it for what comes first
"""

_base_ = "base.py"
name = "study_losses"
study = dict(
    axes=[
        "student.loss=cross_entropy | student.loss=focal | student.loss=ohem | student.head=arcface",
    ],
)
