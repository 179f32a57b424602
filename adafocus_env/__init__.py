"""adafocus-env: reinforcement learning of where to look in video.

Importing the package registers its environment ids with Gymnasium; it does not import torch.
"""

from adafocus_env.registration import register_envs

__version__ = "0.1.0"
__all__ = ["__version__", "register_envs"]

register_envs()
