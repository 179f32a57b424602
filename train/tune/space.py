"""What `adafocus tune` searches: each algorithm's main parameters and their values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from train.config.keys import ConfigError
from train.config.learning import AlgoConfig

if TYPE_CHECKING:
    import optuna

Value = str | int | float | bool


@dataclass(frozen=True)
class Choice:
    """One of some values."""

    values: tuple[Value, ...]

    def suggest(self, trial: optuna.Trial, name: str) -> Value:
        """A value as a configuration writes it."""
        chosen = trial.suggest_categorical(name, self.values)
        assert chosen is not None
        return chosen


@dataclass(frozen=True)
class LogRange:
    """A number whose order of magnitude matters.

    Attributes:
        low: smallest.
        high: largest.
        falling: written `lin_X`: it falls linearly from X to 0 over training.
    """

    low: float
    high: float
    falling: bool = False

    def suggest(self, trial: optuna.Trial, name: str) -> Value:
        """A value of three digits as a configuration writes it."""
        number = f"{trial.suggest_float(name, self.low, self.high, log=True):.3g}"
        return f"lin_{number}" if self.falling else float(number)


Space = Mapping[str, Choice | LogRange]

_GAMMA = Choice((0.0, 0.3, 0.7, 0.9))
_ENTROPY = LogRange(1e-3, 0.1)
_FALLING_RATE = LogRange(2e-4, 1e-2, falling=True)
_PPO: Space = {
    "learning_rate": _FALLING_RATE,
    "n_epochs": Choice((2, 4, 8)),
    "batch_size": Choice(("32T", "64T", "128T", "256T")),
    "gamma": _GAMMA,
    "ent_coef": _ENTROPY,
    "clip_range": Choice((0.1, 0.2, 0.3)),
}
_Q_LEARNING: Space = {
    "learning_rate": LogRange(1e-4, 5e-3, falling=True),
    "batch_size": Choice((64, 128, 256, 512)),
    "gradient_steps": Choice((1, 2, 4, 8)),
    "gamma": _GAMMA,
    "exploration_fraction": Choice((0.2, 0.5, 0.8)),
    "target_update_interval": Choice((200, 1000, 5000)),
}

SPACES: dict[str, Space] = {
    "gru_ppo": {
        "learning_rate": _FALLING_RATE,
        "n_epochs": Choice((1, 2, 3, 4, 6)),
        "batch_episodes": Choice((32, 64, 128, 256)),
        "gamma": _GAMMA,
        "ent_coef": LogRange(1e-3, 0.1, falling=True),
    },
    "ppo": _PPO,
    "recurrent_ppo": {**_PPO, "policy_kwargs.lstm_hidden_size": Choice((64, 128, 256))},
    "a2c": {
        "learning_rate": _FALLING_RATE,
        "n_steps": Choice(("1T", "2T")),
        "gamma": _GAMMA,
        "ent_coef": _ENTROPY,
        "vf_coef": Choice((0.25, 0.5, 1.0)),
    },
    "trpo": {
        "learning_rate": _FALLING_RATE,
        "n_critic_updates": Choice((4, 10, 20)),
        "target_kl": LogRange(3e-3, 0.1),
        "gamma": _GAMMA,
    },
    "dqn": _Q_LEARNING,
    "qrdqn": {**_Q_LEARNING, "policy_kwargs.n_quantiles": Choice((10, 25, 50))},
}

_SPATIAL: Space = {
    "policy_kwargs.head_dim": Choice((16, 32, 64, 128)),
    "policy_kwargs.head_kernel": Choice((1, 3)),
    "policy_kwargs.dropout": Choice((0.0, 0.1, 0.3)),
}


def search_space(
    algo: AlgoConfig, fixed: Sequence[str], search: Mapping[str, Any] | None
) -> dict[str, Choice | LogRange]:
    """The parameters to search.

    Args:
        algo: whose table is taken; none for a class of the user's own.
        fixed: parameters that the command line sets: they keep their value.
        search: lists of values that go before the table's, or add to it; null leaves one out.

    Raises:
        ConfigError: nothing is left to search, or values that are no list.
    """
    table = {} if algo.class_path is not None else {**SPACES.get(algo.name, {})}
    if table and _is_spatial(algo):
        table |= _SPATIAL
    space = {name: item for name, item in table.items() if name not in fixed}
    for name, values in (search or {}).items():
        if values is None:
            space.pop(name, None)
            continue
        plain = isinstance(values, list) and all(isinstance(value, Value) for value in values)
        if not plain or not values:
            raise ConfigError(
                f"search.{name}={values!r} must be a list of values: search={{gamma: [0.0, 0.7]}}"
            )
        space[name] = Choice(tuple(values))
    if not space:
        raise ConfigError(
            f"nothing to search for algo={algo.name}; name parameters and their values: "
            "search={learning_rate: [0.001, 0.003]}"
        )
    return space


def _is_spatial(algo: AlgoConfig) -> bool:
    """Whether the policy scores positions: GruPPO's head, or SB3's policies of that name."""
    head = algo.arguments.get("policy_kwargs", {}).get("head")
    return head == "spatial" or str(algo.arguments.get("policy", "")).startswith("Spatial")


def with_parameters(arguments: Mapping[str, Any], chosen: Mapping[str, Value]) -> dict[str, Any]:
    """An algorithm's arguments with those of a trial; `policy_kwargs.NAME` goes into that mapping.

    Neither mapping is changed.
    """
    merged = dict(arguments)
    for name, value in chosen.items():
        outer, dot, inner = name.partition(".")
        merged[outer] = with_parameters(merged.get(outer, {}), {inner: value}) if dot else value
    return merged
