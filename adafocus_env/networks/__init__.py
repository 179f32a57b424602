"""Glancer, focuser and classifier, and the Recognizer that holds all three."""

from adafocus_env.networks.backbones import BACKBONES, build_backbone
from adafocus_env.networks.classifier import RecurrentClassifier
from adafocus_env.networks.focuser import Focuser
from adafocus_env.networks.frozen import FrozenRecognizer
from adafocus_env.networks.glancer import Glancer, freeze
from adafocus_env.networks.patches import crop_patches
from adafocus_env.networks.recognizer import (
    CheckpointError,
    Recognizer,
    RecognizerConfig,
    class_mismatch,
    has_placeholder_names,
    placeholder_class_names,
)

__all__ = [
    "BACKBONES",
    "CheckpointError",
    "Focuser",
    "FrozenRecognizer",
    "Glancer",
    "Recognizer",
    "RecognizerConfig",
    "RecurrentClassifier",
    "build_backbone",
    "class_mismatch",
    "crop_patches",
    "freeze",
    "has_placeholder_names",
    "placeholder_class_names",
]
