"""What the arguments of SB3's algorithms and policies may be, and how text says them.

SB3 itself computes with anything.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.noise import NormalActionNoise
from stable_baselines3.common.utils import LinearSchedule

from adafocus_env.values import Count, Units, check_value

_Size = Annotated[int, Field(ge=1)]  # memory is its limit
_Start = Annotated[int, Field(ge=0)]
_NotNegative = Annotated[float, Field(ge=0)]
_Positive = Annotated[float, Field(gt=0)]
_Fraction = Annotated[float, Field(ge=0, le=1)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]
_Layers = list[Units] | tuple[Units, ...]
_OwnFrequency = tuple[Count, Literal["step", "episode"]]

# Arguments that count steps, and so may count episodes.
_IN_STEPS = (
    *("n_steps", "batch_size", "learning_starts", "buffer_size", "train_freq"),
    "target_update_interval",
)

# Of the algorithms in `ALGORITHMS`, SAC and TD3.
ARGUMENTS: dict[str, Any] = {
    "policy": str | type,
    "learning_rate": _NotNegative,
    **dict.fromkeys(("gamma", "gae_lambda", "exploration_fraction"), _Fraction),
    **dict.fromkeys(("exploration_initial_eps", "exploration_final_eps"), _Fraction),
    **dict.fromkeys(("ent_coef", "vf_coef", "cg_damping"), _NotNegative),
    **dict.fromkeys(("action_noise", "target_policy_noise", "target_noise_clip"), _NotNegative),
    **dict.fromkeys(("clip_range", "rms_prop_eps"), _Positive),
    **dict.fromkeys(("clip_range_vf", "target_kl", "max_grad_norm"), _Positive | None),
    "line_search_shrinking_factor": Annotated[float, Field(gt=0, lt=1)],
    "tau": Annotated[float, Field(gt=0, le=1)],
    "target_entropy": _Finite | Literal["auto"],
    **dict.fromkeys(("n_steps", "n_epochs", "episodes_per_row", "n_critic_updates"), Count),
    **dict.fromkeys(("cg_max_steps", "line_search_max_iter", "sub_sampling_factor"), Count),
    **dict.fromkeys(("stats_window_size", "policy_delay", "target_update_interval"), Count),
    **dict.fromkeys(("batch_episodes", "batch_size"), Count | None),
    **dict.fromkeys(("gradient_steps", "sde_sample_freq"), Literal[-1] | Count),
    "train_freq": Count | _OwnFrequency,
    "buffer_size": _Size,
    "learning_starts": _Start,
    "verbose": Literal[0, 1, 2],
    **dict.fromkeys(("normalize_advantage", "normalize_returns", "scale_rewards"), bool),
    **dict.fromkeys(("center_steps", "shuffle_videos", "use_rms_prop"), bool),
    **dict.fromkeys(("use_sde", "use_sde_at_warmup", "optimize_memory_usage"), bool),
    **dict.fromkeys(("replay_buffer_kwargs", "rollout_buffer_kwargs"), dict | None),
    "policy_kwargs": dict | None,
}

# Of our policies and theirs.
POLICY_KWARGS: dict[str, Any] = {
    "head": Literal["flat", "spatial"],
    **dict.fromkeys(("channels", "hidden_dim", "head_dim"), Units),
    **dict.fromkeys(("n_quantiles", "lstm_hidden_size"), Units),
    "head_kernel": Annotated[int, Field(ge=1, le=99)],
    "n_lstm_layers": Annotated[int, Field(ge=1, le=100)],
    "n_critics": Annotated[int, Field(ge=1, le=100)],
    "dropout": Annotated[float, Field(ge=0, lt=1)],
    "action_std": _Positive,
    "clip_mean": _Positive,
    "log_std_init": _Finite,
    "net_arch": _Layers | dict[Literal["pi", "vf", "qf"], _Layers] | None,
    **dict.fromkeys(("recurrent", "detach_value", "standardize", "orthogonal"), bool),
    **dict.fromkeys(("clamp_probs", "batch_norm", "clip_log_probs", "ortho_init"), bool),
    **dict.fromkeys(("use_sde", "full_std", "use_expln", "squash_output"), bool),
    **dict.fromkeys(("share_features_extractor", "normalize_images"), bool),
    **dict.fromkeys(("shared_lstm", "enable_critic_lstm"), bool),
    **dict.fromkeys(("features_extractor_kwargs", "optimizer_kwargs"), dict | None),
    "lstm_kwargs": dict[Literal["bias", "dropout"], bool | _Fraction] | None,
    "patch_grid": dict | None,
    **dict.fromkeys(("activation_fn", "optimizer_class", "features_extractor_class"), str | type),
}

# Of mappings within those of the policy.
_INNER: dict[str, dict[str, Any]] = {
    "features_extractor_kwargs": {"channels": Units, "features_dim": Units},
    "optimizer_kwargs": {
        "eps": _Positive,
        **dict.fromkeys(("weight_decay", "momentum", "lr"), _NotNegative),
        "alpha": _Fraction,
        "betas": tuple[_Fraction, _Fraction] | list[_Fraction],
    },
}


def check_types(values: Mapping[str, Any], types: Mapping[str, Any], prefix: str = "algo.") -> None:
    """Refuse values that SB3 would compute something else with, or fail on without naming them.

    Args:
        values: by name; those that `types` does not name are the caller's own.
        types: `ARGUMENTS` or `POLICY_KWARGS`.
        prefix: of the names in messages.

    Raises:
        ValueError: the message names the argument.
    """
    for name, value in values.items():
        if name in types:
            try:
                check_value(prefix + name, value, types[name])
            except TypeError as error:
                raise ValueError(str(error)) from None
        if name in _INNER and isinstance(value, Mapping):
            check_types(value, _INNER[name], f"{prefix}{name}.")


def number_of(name: str, value: Any, algorithm: type[BaseAlgorithm], num_decisions: int) -> Any:
    """An argument's number: that of episodes in steps, that which a schedule begins with.

    Raises:
        ValueError: a text that is neither, where one is needed, or where it cannot be.
    """
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, str) or name in ("policy", "target_entropy"):
        return value
    if name == "ent_coef" and (auto := re.fullmatch(r"auto(?:_(.+))?", value)):
        return 1.0 if auto[1] is None else _float(auto[1], name, value)
    episodes = re.fullmatch(r"(\d{1,9})T", value)
    if episodes and name in _IN_STEPS:
        return int(episodes[1]) * num_decisions
    if not value.startswith("lin_"):
        return _float("", name, value)
    parameter = inspect.signature(algorithm).parameters.get(name)
    falls = parameter is None or re.search("Schedule|Callable", str(parameter.annotation))
    if not falls:
        raise ValueError(f"algo.{name}={value!r} cannot fall over training; give a number")
    return _float(value[4:], name, value)


def _float(text: str, name: str, value: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(
            f"algo.{name}={value!r} is no number; for a falling one write lin_0.001, say, and for "
            f"steps ({', '.join(_IN_STEPS)}) 2T for those of two episodes"
        ) from None


def as_argument(name: str, given: Any, number: Any) -> Any:
    """An argument as SB3 takes it."""
    if name == "action_noise":  # of continuous locations: (row, column)
        return NormalActionNoise(np.zeros(2), np.full(2, float(number)))
    if not isinstance(given, str) or name in ("policy", "target_entropy"):
        return number
    if given.startswith("auto"):
        return given
    return LinearSchedule(number, 0.0, 1.0) if given.startswith("lin_") else number
