"""What the studies share: clothing-dataset-small, small pictures and few epochs for two CPU cores, ready soft labels.

    python e4.py configs/clothing_cpu.py                     once, for the soft labels
    python ablate.py configs/studies/NAME.py                 or --shard 0/2 and 1/2 side by side, with num_threads=1 each

A trial takes some minutes on one core. For another data set or a GPU change _base_ and student.oof.
"""

_base_ = "../clothing_cpu.py"
student = dict(
    oof="runs/clothing_cpu/oof.csv",
    image_size=64,
    resize=72,
    train_sizes=None,
    epochs=12,
    final_epochs=0,  # at a tiny rate they change nothing that the trials differ in
)
