"""What the studies share: clothing-dataset-small with the settings for two CPU cores, fewer epochs, ready soft labels.

    python e4.py configs/clothing_cpu.py                     once, for the soft labels
    python ablate.py configs/studies/NAME.py

For another data set or a GPU change _base_ and student.oof.
"""

_base_ = "../clothing_cpu.py"
student = dict(oof="runs/clothing_cpu/oof.csv", epochs=12)
