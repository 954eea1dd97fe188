"""Which student for my CPU? From ImageNet weights at several sizes, and from scratch, each exported and timed.

    python e4.py configs/clothing_cpu.py                     once, for the soft labels
    python ablate.py configs/studies/choose.py --int8        or --shard 0/2 and 1/2 side by side, with num_threads=1 each

The picture choice.png shows accuracy against milliseconds; docs/results.md says what came of it. Two hours a seed on one core.
"""

_base_ = "../clothing_cpu_imagenet.py"
name = "study_choose"
student = dict(
    oof="runs/clothing_cpu/oof.csv",
    train_sizes=None,
    epochs=6,
)
study = dict(
    axes=[
        " | ".join(
            [
                *(
                    f"EfficientNet-{name} {size} px: student.backbone=efficientnet_{name.lower()} student.image_size={size}"
                    for name, size in (("Lite0", 96), ("Lite0", 128), ("Lite0", 160), ("Lite0", 192), ("Lite1", 240))
                ),
                # From scratch: the recipe's student, as in clothing_cpu.py but for its length, and labels for each view.
                *(
                    f"{name} from scratch, 112 px: student.backbone={backbone} student.weights=none "
                    "student.image_size=112 student.resize=128 "
                    "student.train_sizes=(64,80,96,112) student.epochs=25 student.lr=2e-3 student.weight_decay=0.1 "
                    "student.head=mlp1280 student.std=0.225 student.batch_size=64 student.sampler=balanced "
                    "student.head_epochs=0 student.frozen_stages=0 student.frozen_batchnorm=False student.ema_decay=0 "
                    "student.backbone_lr_scale=1 student.distillation=views student.teacher_weight=0.5 student.num_views=8"
                    for name, backbone in (
                        ("MobileNetV3-small", "mobilenet_v3_small"),
                        ("MobileNetV4-conv-small", "mobilenetv4_conv_small"),
                        ("LCNet", "lcnet_100"),
                        ("GhostNet", "ghostnet_100"),
                    )
                ),
            ]
        )
    ],
    seeds=1,
)
