"""The claim: 96 x 96 pixels submit at 0.67, 224 x 224 at 0.72; 32 x 32 is the extreme of speed.

    python e4.py configs/clothing_cpu.py                     once, for the soft labels
    python ablate.py configs/studies/sizes.py

On clothing-dataset-small with the settings for two CPU cores, fewer epochs and three seeds; for another data set or a GPU change
_base_, or call `ablate.py CONFIG --axis ...` with the axis below.
"""

_base_ = "../clothing_cpu.py"
name = "study_sizes"
student = dict(oof="runs/clothing_cpu/oof.csv", epochs=12, train_sizes=None)
study = dict(
    axes=[
        "student.image_size=32 student.resize=37 | "
        "student.image_size=96 student.resize=110 | "
        "student.image_size=160 student.resize=183 | "
        "student.image_size=224 student.resize=256",
    ],
    seeds=3,
)
