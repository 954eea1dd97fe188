"""The claim: 96 x 96 pixels submit at 0.67, 224 x 224 at 0.72; 32 x 32 is the extreme of speed.

python ablate.py configs/studies/sizes.py          see base.py beside it for what comes first
"""

_base_ = "base.py"
name = "study_sizes"
study = dict(
    axes=[
        "student.image_size=32 student.resize=37 | "
        "student.image_size=64 student.resize=72 | "
        "student.image_size=96 student.resize=110 | "
        "student.image_size=160 student.resize=183 | "
        "student.image_size=224 student.resize=256",
    ],
)
