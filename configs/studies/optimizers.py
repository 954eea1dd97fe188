"""The claim: RAdam + cosine > Adam + warm-up + cosine; Over9000 and Ranger about as good as RAdam.

    python e4.py configs/clothing_cpu.py                     once, for the soft labels
    python ablate.py configs/studies/optimizers.py

On clothing-dataset-small with the settings for two CPU cores, fewer epochs and three seeds; for another data set or a GPU change
_base_, or call `ablate.py CONFIG --axis ...` with the axis below.
"""

_base_ = "../clothing_cpu.py"
name = "study_optimizers"
student = dict(oof="runs/clothing_cpu/oof.csv", epochs=12)
study = dict(
    axes=[
        "student.optimizer=radam | "
        "student.optimizer=adam student.warmup_steps=200 | "
        "student.optimizer=over9000 | "
        "student.optimizer=ranger | "
        "student.optimizer=lamb",
    ],
    seeds=3,
)
