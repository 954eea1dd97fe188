"""From a folder of class folders to batches: index, folds, pixel cache, augmentation, mixing, soft targets."""
