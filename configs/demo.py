"""Embedded data: seven fabrics drawn by the program. The whole recipe in minutes on two CPU cores, no network, no weights.

    make demo

or, step by step:

    python e4.py configs/demo.py
    python m11.py configs/demo.py
    python export_openvino.py runs/demo

Times and accuracies: docs/results.md.
"""

name = "demo"
data = dict(
    root="runs/demo/textiles/train",
    val_root="runs/demo/textiles/validation",
    draw_textiles=1050,
)
# EfficientNet-B1 from scratch on 840 pictures in a minute a fold: small pictures, many small steps, BatchNorm statistics that
# keep up, and AdamW, which needs no hundreds of steps to get going as RAdam does. It stays a weak teacher.
teacher = dict(
    weights="none",
    image_size=48,
    batch_size=32,
    epochs=3,
    optimizer="adamw",
    lr=2e-3,
    mixing="none",
    bn_momentum=0.1,
)
student = dict(
    weights="none",
    image_size=64,
    resize=72,
    train_sizes=(48, 64),
    batch_size=32,
    epochs=60,
    optimizer="adamw",
    lr=3e-3,
    weight_decay=0.05,
    mixing_prob=0.3,  # so few epochs are better spent on fewer mixed batches
    bn_momentum=0.1,
)
