"""Features of frames and patches, behind one protocol."""

from adafocus_env.features.bank import BankPart, FeatureBank, open_bank
from adafocus_env.features.bank_builder import BankBuilder
from adafocus_env.features.bank_features import BankEpisodes, BankFeatures
from adafocus_env.features.judges import Judges
from adafocus_env.features.live import LiveFeatures
from adafocus_env.features.source import (
    EpisodeFeatures,
    EpisodeStart,
    FeatureSource,
    all_pairs,
)

__all__ = [
    "BankBuilder",
    "BankEpisodes",
    "BankFeatures",
    "BankPart",
    "EpisodeFeatures",
    "EpisodeStart",
    "FeatureBank",
    "FeatureSource",
    "Judges",
    "LiveFeatures",
    "all_pairs",
    "open_bank",
]
