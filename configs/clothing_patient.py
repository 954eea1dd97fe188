"""clothing-dataset-small: a student from scratch that imitates its teachers on mixed pictures, for very long. For a GPU.

    python e4.py configs/clothing.py                  the teachers, unless they are there
    python m11.py configs/clothing_patient.py
    python export_openvino.py runs/clothing_patient

"Patient and consistent" teaching (Beyer et al. 2022, arXiv:2106.05237): the labels do not matter, teachers and student see the same
cut and mixed picture, and the schedule is ten times as long. The teachers have seen four fifths of the training pictures, which
does no harm to validation/. Not measured yet.
"""

_base_ = "clothing.py"
name = "clothing_patient"
student = dict(
    weights="none",
    distillation="online",
    online_teachers=[
        "runs/clothing/teacher/fold0/best.pth",
        "runs/clothing/teacher/fold1/best.pth",
        "runs/clothing/teacher/fold2/best.pth",
        "runs/clothing/teacher/fold3/best.pth",
        "runs/clothing/teacher/fold4/best.pth",
    ],
    online_weight=1.0,
    temperature=1.0,
    augmentation="student_zoom_color",
    mixing=dict(mixup=1, cutmix=1),
    mixing_prob=1.0,  # never a picture as it is
    optimizer="adamw",
    lr=3e-3,
    warmup_steps=500,
    weight_decay=0.05,
    epochs=300,  # of 7,950 pictures each
)
