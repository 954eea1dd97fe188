"""clothing-dataset-small (3,068 training photographs, 10 classes): the full recipe, for a GPU.

    git clone --depth 1 https://github.com/alexeygrigorev/clothing-dataset-small datasets/clothing-dataset-small
    python e4.py configs/clothing.py
    python m11.py configs/clothing.py
    python export_openvino.py runs/clothing

All values are the recipe's but the paths. Teacher and student start from ImageNet weights, which are downloaded or
taken from the cache. Not measured yet.
"""

name = "clothing"
data = dict(
    root="datasets/clothing-dataset-small/train",
    val_root="datasets/clothing-dataset-small/validation",
)
