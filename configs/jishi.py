"""The contest platform: EfficientNet-B1 teacher, MobileNetV3-small student, seven styles of clothes. The defaults are the recipe.

    python e4.py
    python m11.py
    python export_openvino.py /project/train/models/jishi

Needs a GPU, and these two files, brought along because the platform has no network (or 'none' to train from scratch):
https://github.com/lukemelas/EfficientNet-PyTorch/releases/download/1.0/efficientnet-b1-f1951068.pth
https://download.pytorch.org/models/mobilenet_v3_small-047dcff4.pth
The contest entry that used this recipe reached 0.7292 accuracy at 162.5 frames per second there; this code has not run there yet.
"""

name = "jishi"
work_dir = "/project/train/models"
data = dict(
    root="/home/data/14",
    # The platform's own order of the classes, which its judge expects.
    classes=["ea_style", "ethnic_style", "jp_style", "ladylike", "leisure", "maid_style", "punk"],
)
teacher = dict(weights="/project/train/src_repo/efficientnet-b1-f1951068.pth")
student = dict(weights="/project/train/src_repo/mobilenet_v3_small-047dcff4.pth")
