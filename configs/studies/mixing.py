"""The claim: CutMix (alpha 1.0, p 0.5) >= MixUp (the same) > GridMask.

    python e4.py configs/clothing_cpu.py                     once, for the soft labels
    python ablate.py configs/studies/mixing.py

On clothing-dataset-small with the settings for two CPU cores, fewer epochs and three seeds; for another data set or a GPU change
_base_, or call `ablate.py CONFIG --axis ...` with the axis below.
"""

_base_ = "../clothing_cpu.py"
name = "study_mixing"
student = dict(oof="runs/clothing_cpu/oof.csv", epochs=12)
study = dict(
    axes=[
        "student.mixing=cutmix,mixup,gridmask,none",
    ],
    seeds=3,
)
