"""Features of frames and patches, behind one protocol."""

from adafocus_env.features.live import LiveFeatures
from adafocus_env.features.source import EpisodeFeatures, EpisodeStart, FeatureSource, WorksAhead

__all__ = ["EpisodeFeatures", "EpisodeStart", "FeatureSource", "LiveFeatures", "WorksAhead"]
