"""The claim: softmax cross-entropy > focal loss (alpha 0.25, gamma 2); ArcFace brings nothing.

    python e4.py configs/clothing_cpu.py                     once, for the soft labels
    python ablate.py configs/studies/losses.py

On clothing-dataset-small with the settings for two CPU cores, fewer epochs and three seeds; for another data set or a GPU change
_base_, or call `ablate.py CONFIG --axis ...` with the axis below.
"""

_base_ = "../clothing_cpu.py"
name = "study_losses"
student = dict(oof="runs/clothing_cpu/oof.csv", epochs=12)
study = dict(
    axes=[
        "student.loss=cross_entropy | student.loss=focal | student.loss=ohem | student.head=arcface",
    ],
    seeds=3,
)
