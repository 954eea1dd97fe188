"""The claim: RAdam + cosine > Adam + warm-up + cosine; Over9000 and Ranger about as good as RAdam.

python ablate.py configs/studies/optimizers.py          see base.py beside it for what comes first
"""

_base_ = "base.py"
name = "study_optimizers"
student = dict(weight_decay=0.0)  # the recipe has none; what Adam adds to the gradient is not what the others do
study = dict(
    axes=[
        "student.optimizer=radam | "
        "student.optimizer=adam student.warmup_steps=200 | "
        "student.optimizer=over9000 | "
        "student.optimizer=ranger | "
        "student.optimizer=lamb",
    ],
)
