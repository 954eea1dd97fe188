"""The students that were compared: MobileNetV3-small, GhostNet, MobileNetV3-large, ShuffleNetV2, EfficientNet-B0.

    python e4.py configs/clothing_cpu.py                     once, for the soft labels
    python ablate.py configs/studies/students.py

On clothing-dataset-small with the settings for two CPU cores, fewer epochs and three seeds; for another data set or a GPU change
_base_, or call `ablate.py CONFIG --axis ...` with the axis below.
"""

_base_ = "../clothing_cpu.py"
name = "study_students"
student = dict(oof="runs/clothing_cpu/oof.csv", epochs=12)
study = dict(
    axes=[
        "student.backbone=mobilenet_v3_small,ghostnet_100,mobilenet_v3_large,shufflenet_v2_x1_0,efficientnet_b0",
    ],
    seeds=3,
)
