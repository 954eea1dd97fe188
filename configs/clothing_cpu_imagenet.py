"""clothing-dataset-small on two CPU cores, the student from ImageNet weights too: more accurate, larger, slower.

    python e4.py configs/clothing_cpu.py               its soft labels, unless they are there
    python m11.py configs/clothing_cpu_imagenet.py
    python export_openvino.py runs/clothing_cpu_imagenet

Not measured yet.
"""

_base_ = "clothing_cpu.py"
name = "clothing_cpu_imagenet"
data = dict(cache="runs/clothing_cpu")
student = dict(
    oof="runs/clothing_cpu/oof.csv",
    backbone="efficientnet_lite1",
    head="linear",
    weights="imagenet",
    std=1.0,
    # As its teacher: the head first, then the last stages at half its rate; but for longer, with CutMix and on all pictures.
    image_size=240,
    resize=None,
    train_sizes=None,
    batch_size=32,
    sampler="shuffle",
    augmentation="teacher",
    head_epochs=40,
    head_lr=2e-3,
    frozen_stages=5,
    frozen_batchnorm=True,
    epochs=8,
    lr=5e-4,
    backbone_lr_scale=0.5,
    weight_decay=0.0,
    ema_decay=0.99,
    final_epochs=2,
)
