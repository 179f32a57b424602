"""Named sets of an algorithm's arguments: the published one, and those of the recipes."""

from __future__ import annotations

from typing import Any

# Algorithm -> preset -> constructor arguments. Those of other algorithms are in configs/algo/.
PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "gru_ppo": {
        # Exactly the published update; SB3's Adam has eps 1e-5 elsewhere.
        "paper": {
            "learning_rate": 3e-4,
            "gamma": 0.7,
            "normalize_returns": True,
            "ent_coef": 0.01,
            "vf_coef": 0.5,
            "policy_kwargs": {
                "hidden_dim": 1024,
                "clamp_probs": True,
                "clip_log_probs": True,
                "optimizer_kwargs": {"eps": 1e-8, "betas": (0.9, 0.999)},
            },
        },
        # What the demo trains with: small networks, quick learning. Actions change nothing but
        # the classifier's state, so a look is best credited with its own reward alone: gamma 0.
        "demo": {
            "learning_rate": "lin_0.002",
            "n_epochs": 3,
            "batch_episodes": 128,
            "gamma": 0.0,
            "normalize_returns": True,
            "center_steps": True,
            "ent_coef": "lin_0.03",
            "vf_coef": 0.5,
            "max_grad_norm": 0.5,
            "policy_kwargs": {
                "hidden_dim": 256,
                "detach_value": True,
                "standardize": True,
                "orthogonal": True,
                "clamp_probs": False,
            },
        },
        # For some hundred videos, which policies learn by heart: the regularisation (and the
        # spatial head of experiment=small) is what a study on such sets found to generalise.
        "small": {
            "learning_rate": 1e-3,
            "n_epochs": 3,
            "gamma": 0.0,
            "normalize_returns": True,
            "center_steps": True,
            "ent_coef": 0.01,
            "vf_coef": 0.5,
            "max_grad_norm": 0.5,
            "policy_kwargs": {
                "hidden_dim": 256,
                "detach_value": True,
                "standardize": True,
                "orthogonal": True,
                "clamp_probs": False,
                "optimizer_class": "adamw",
                "optimizer_kwargs": {"weight_decay": 0.01},
            },
        },
        # For networks and videos of the published size: what the published update leaves unused of
        # a rollout is used, in several passes over minibatches of whole episodes.
        "tuned": {
            "learning_rate": "lin_0.0005",
            "n_epochs": 4,
            "batch_episodes": 32,
            "gamma": 0.7,
            "gae_lambda": 0.9,
            "normalize_returns": False,
            "scale_rewards": True,
            "normalize_advantage": True,
            "ent_coef": "lin_0.02",
            "vf_coef": 0.5,
            "max_grad_norm": 0.5,
            "policy_kwargs": {
                "hidden_dim": 512,
                "standardize": True,
                "orthogonal": True,
                "clamp_probs": False,
            },
        },
        # For closed loops: what a look brings shows in those after it, and an arrow must be read.
        "loop": {
            "learning_rate": "lin_0.001",
            "n_epochs": 3,
            "batch_episodes": 86,
            "gamma": 0.95,
            "gae_lambda": 0.95,
            "normalize_returns": False,
            "normalize_advantage": True,
            "ent_coef": 0.01,
            "vf_coef": 0.5,
            "max_grad_norm": 0.5,
            "policy_kwargs": {
                "head": "spatial",
                "recurrent": False,
                "head_dim": 48,
                "standardize": True,
                "orthogonal": True,
                "clamp_probs": False,
            },
        },
    }
}
