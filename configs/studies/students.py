"""The students that were compared: MobileNetV3-small, GhostNet, MobileNetV3-large, ShuffleNetV2, EfficientNet-B0.

python ablate.py configs/studies/students.py          see base.py beside it for what comes first
"""

_base_ = "base.py"
name = "study_students"
study = dict(
    axes=[
        "student.backbone=mobilenet_v3_small,ghostnet_100,mobilenet_v3_large,shufflenet_v2_x1_0,efficientnet_b0",
    ],
)
