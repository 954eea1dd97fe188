"""clothing-dataset-small on two CPU cores.

    python e4.py configs/clothing_cpu.py
    python m11.py configs/clothing_cpu.py
    python export_openvino.py runs/clothing_cpu
"""

name = "clothing_cpu"
data = dict(root="datasets/clothing-dataset-small/train", val_root="datasets/clothing-dataset-small/validation")
teacher = dict(
    backbone="efficientnet_lite1",
    image_size=240,
    batch_size=32,
    head_epochs=30,
    frozen_stages=6,
    frozen_batchnorm=True,
    epochs=4,
    lr=3e-4,
    mixing="none",
)
student = dict(weights="none", image_size=112, resize=128, batch_size=32, epochs=100, augmentation="student_zoom")
