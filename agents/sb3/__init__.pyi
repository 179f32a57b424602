from agents.sb3.presets import PRESETS as PRESETS
from agents.sb3.registry import ALGORITHMS as ALGORITHMS
from agents.sb3.registry import algorithm_arguments as algorithm_arguments
from agents.sb3.registry import algorithm_class as algorithm_class
from agents.sb3.resume import restore_training_state as restore_training_state
from agents.sb3.resume import training_state as training_state
from agents.sb3.vec_env import CenteredActions as CenteredActions
from agents.sb3.vec_env import Sb3VecEnvAdapter as Sb3VecEnvAdapter
