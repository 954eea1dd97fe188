"""The claim: EfficientNet-B4 >= EfficientNet-B1 > SE-ResNeXt50 >= DenseNet121 as teachers in the loop. For a GPU.

python ablate.py configs/studies/teachers.py       trains the teachers too, once each
"""

_base_ = "../clothing.py"
name = "study_teachers"
student = dict(distillation="online")
study = dict(
    axes=[
        "teacher.backbone=efficientnet_b4,efficientnet_b1,seresnext50_32x4d,densenet121",
    ],
)
