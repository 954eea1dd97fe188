"""The claim: RAdam + cosine > Adam + warm-up + cosine; Over9000 and Ranger about as good as RAdam.

python ablate.py configs/studies/optimizers.py          see base.py beside it for what comes first
"""

_base_ = "base.py"
name = "study_optimizers"
study = dict(
    axes=[
        "student.optimizer=radam | "
        "student.optimizer=adam student.warmup_steps=200 | "
        "student.optimizer=over9000 | "
        "student.optimizer=ranger | "
        "student.optimizer=lamb",
    ],
)
