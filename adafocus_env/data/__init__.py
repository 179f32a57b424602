"""Videos as labelled clips: built-in ones, and those on disk as video files or extracted frames."""

from adafocus_env.lazy import names_of_stub

__all__, __getattr__ = names_of_stub(__name__, __file__)
