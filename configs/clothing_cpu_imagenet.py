"""clothing-dataset-small on two CPU cores, the student from ImageNet weights too: more accurate, larger, slower.

    python e4.py configs/clothing_cpu_imagenet.py
    python m11.py configs/clothing_cpu_imagenet.py
    python export_openvino.py runs/clothing_cpu_imagenet

The teacher is that of clothing_cpu.py; where its labels are there, m11.py alone will do, with
`--cfg-options student.oof=runs/clothing_cpu/oof.csv`.
The student takes 34 minutes on two cores; on validation/ two seeds have 0.92 after the last epoch, 0.924 and 0.935 the best one
(docs/results.md).
"""

_base_ = "clothing_cpu.py"
name = "clothing_cpu_imagenet"
student = dict(
    backbone="efficientnet_lite1",
    head="linear",
    weights="imagenet",
    std=1.0,
    image_size=240,
    resize=None,
    train_sizes=(160, 192, 224, 240),  # small ones first, for more epochs in the same time
    batch_size=32,
    sampler="shuffle",
    # The head first, then the rest at half its rate; but all of it except the two stages that see edges.
    head_epochs=40,
    head_lr=2e-3,
    frozen_stages=2,
    frozen_batchnorm=True,
    epochs=12,
    lr=5e-4,
    backbone_lr_scale=0.5,
    weight_decay=0.0,
    ema_decay=0.99,
    final_epochs=0,  # the moving average is what ships
)
