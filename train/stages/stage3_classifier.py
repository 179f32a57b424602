"""Stage 3: the classifier learns on the patches that a policy chooses."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from adafocus_env.envs import PatchGrid
from adafocus_env.folders import make_folder
from adafocus_env.networks import AnyRecognizer
from train.checkpoints.load import (
    ZIP_FILE,
    check_has_policy,
    find_part,
    load_configured,
    nothing_to_start_from,
)
from train.config.commands import Stage3Config
from train.runs.context import RunContext
from train.runs.progress import ProgressDisplay
from train.stages.chosen_patches import (
    POLICY_NAMES,
    ChosenPatchStage,
    choose_patches,
    is_named,
    open_split_or_bank,
)
from train.stages.supervised.loop import train_stage


def run_stage3(
    config: Stage3Config, context: RunContext[Stage3Config], display: ProgressDisplay
) -> None:
    """Fine-tune the classifier; write the whole recognizer to `recognizer/` of the run folder."""
    source = config.source_run
    if config.policy is None:  # that of the run is meant
        if source is None:
            raise nothing_to_start_from(config, "policy")
        cure = f"give policy=RUN_FOLDER of 'adafocus stage2', or policy={'|'.join(POLICY_NAMES)}"
        check_has_policy(source, config.dataset, cure)
    recognizer = load_configured(source, config, str(context.device))
    if config.classifier_dropout is not None:
        recognizer.classifier.dropout.p = config.classifier_dropout
    policy = config.policy or str(source)
    grid = PatchGrid(config.grid_size, recognizer.config.frame_size, recognizer.config.patch_size)
    choose = choose_patches(
        policy, grid, recognizer, trust=config.trust, skip_cost=config.skip_cost
    )
    train_split = open_split_or_bank("train", recognizer, grid, context)
    val_split = open_split_or_bank("val", recognizer, grid, context)
    stage = ChosenPatchStage(recognizer, choose, config.need("fc_lr"), skip_rate=config.skip_rate)
    torch.manual_seed(config.seed)  # Dropout
    name = policy if is_named(policy) else "policy"
    train_stage(
        f"stage 3: classifier, {name}",
        stage,
        train_split,
        val_split,
        context,
        display,
        lambda: _write_results(recognizer, policy if name == "policy" else None, context),
    )


def _write_results(
    recognizer: AnyRecognizer, policy: str | None, context: RunContext[Stage3Config]
) -> None:
    recognizer.save(context.folder / "recognizer")
    if policy is not None:  # beside the classifier that knows its patches
        source = Path(policy)
        for candidate in (source / ZIP_FILE, source):
            if candidate.is_file() and not (source / "policy").exists():
                shutil.copyfile(candidate, context.folder / ZIP_FILE)
                return
        source = find_part(policy, "policy", "adafocus stage2")
        target = context.folder / "policy"
        if source.resolve() != target.resolve():
            make_folder(target)
            shutil.copytree(source, target, dirs_exist_ok=True)
