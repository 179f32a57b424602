"""The published code's command-line words: which are ours too, and what the others became."""

from __future__ import annotations

from train.config.sections import ConfigError

# Published key -> ours. Keys with the same name (dataset, data_dir, batch_size, patch_size, ...)
# are in configs/config.yaml itself.
RENAMED = {
    "num_segments": "num_frames",
    "workers": "num_workers",
    "hidden_state_dim": "algo.policy_kwargs.hidden_dim",
    "policy_lr": "algo.learning_rate",
    "gamma": "algo.gamma",
}

# Published key -> what to do instead.
GONE = {
    "train_stage": "the stage is the command: adafocus stage0, stage1, stage2 or stage3",
    "evaluate": "it is a command: adafocus evaluate",
    "random_patch": "stages 0 and 1 use random patches, stages 2 and 3 the policy's",
    "gpu": "use device=cuda:N",
    "gpus": "use device=cuda:N, or torchrun for several",
    "multiprocessing_distributed": "use torchrun --nproc-per-node N --no-python adafocus COMMAND",
    "dist_url": "torchrun knows the address: --rdzv-endpoint HOST:PORT",
    "dist_backend": "Accelerate chooses it",
    "world_size": "use torchrun --nnodes N",
    "rank": "torchrun sets it",
    "consensus": "only the recurrent classifier (gru) is built; fc cannot run stages 2 and 3",
    "feature_map_channels": "the glancer knows it",
    "with_glancer": "glance vectors always reach the classifier; without them stage 1 crashed",
    "policy_conv": "only the policy with a convolution (policy_conv=true) is built",
    "continuous": "the ActivityNet family acts on a grid",
    "penalty": "it was read nowhere",
    "clip_grad": "it was read nowhere; for the policy use algo.max_grad_norm",
    "npb": "it was read nowhere",
    "arch": "it was read nowhere; networks are glancer= and focuser=",
    "k": "it was read nowhere",
    "lr_step": "use lr_steps=[50,100]",
}


def translate(overrides: list[str]) -> list[str]:
    """Command-line overrides with the published words replaced by ours.

    Args:
        overrides: `key=value` texts.

    Raises:
        ConfigError: a published word that means nothing here; the message says what to do instead.
    """
    return [_translate(override) for override in overrides]


def _translate(override: str) -> str:
    key, equals, value = override.partition("=")
    if not equals or key.startswith("-"):
        return override
    if key in GONE:
        raise ConfigError(f"{key}= is a word of the published code; {GONE[key]}")
    if key == "amp" and value.lower() in ("true", "false"):
        return "amp=auto" if value.lower() == "true" else "amp=none"
    if key == "lr_steps" and "[" not in value:  # published as 50-100
        return f"lr_steps=[{value.replace('-', ',')}]"
    return f"{RENAMED.get(key, key)}{equals}{value}"
