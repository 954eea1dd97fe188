"""clothing-dataset-small (3,068 training photographs, 10 classes) on two CPU cores: ImageNet teacher, student from scratch.

    git clone --depth 1 https://github.com/alexeygrigorev/clothing-dataset-small datasets/clothing-dataset-small
    python e4.py configs/clothing_cpu.py
    python m11.py configs/clothing_cpu.py
    python export_openvino.py runs/clothing_cpu

About 40 minutes in all; on validation/ the teacher's models reach 0.88 together, the student 0.83 (docs/results.md).
"""

name = "clothing_cpu"
data = dict(
    root="datasets/clothing-dataset-small/train",
    val_root="datasets/clothing-dataset-small/validation",
)
teacher = dict(
    backbone="efficientnet_lite1",  # its ImageNet weights come with the installation
    image_size=240,  # the size it was pretrained at; smaller costs accuracy faster than it saves time
    # The head alone learns, on features of the pictures and their mirror images, which takes seconds. Fine-tuning the last stages
    # too took 20 minutes more for the same out-of-fold accuracy (docs/results.md).
    epochs=0,
    head="linear",
    head_epochs=40,
    head_lr=2e-3,
    optimizer="adamw",
    weight_decay=0.1,
    dropout=0.2,
    batch_size=64,
    flip_test=True,
)
student = dict(
    weights="none",
    image_size=112,
    resize=128,
    train_sizes=(64, 80, 96, 112),  # small ones first, for more epochs in the same time
    batch_size=64,
    epochs=56,  # of 7,950 pictures each: balanced sampling draws every class as often as the largest
    lr=2e-3,
    weight_decay=0.1,
    augmentation="student_zoom_color",
)
