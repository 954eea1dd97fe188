"""Classifiers: a backbone, pooling and a head. `build_model` is the entry point."""

from models.classifier import Classifier, build_model, check_model

__all__ = ["Classifier", "build_model", "check_model"]
