"""Losses, schedules, clips and the choice of the best epoch in stages 0, 1 and 3."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from train.config.keys import ConfigError
from train.runs.context import RunContext
from train.stages.supervised.data import VALIDATION_EPOCH, LabelledClips, Share, load_batches
from train.stages.supervised.loop import fit
from train.stages.supervised.optim import make_optimizer, make_scheduler
from train.stages.supervised.stage import FrameLoss, StepLoss
from train.stages.supervised.validation import Score, Validation

LOG_3 = math.log(3.0)


class Unfrozen(FrameLoss):
    """Stage 0's loss; trains nothing."""

    predict = None


class MeanColour(StepLoss):
    """A linear layer on each frame's mean colour: the smallest stage there is."""

    def __init__(self, learning_rate=0.1):
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Sequential(nn.Dropout(0.5), nn.Linear(3, 3))
        self.trained = [(self.layer, learning_rate)]
        self.modes, self.sizes = [], []

    def predict(self, batch, frozen):
        self.modes.append(self.layer.training)
        self.sizes.append(len(batch.frames))
        return self.layer(batch.frames.float().mean(dim=(3, 4)) / 255.0)


@pytest.fixture
def config(make_config):
    """A stage-1 configuration with overrides, on the CPU."""
    return lambda *overrides: make_config("stage1", "device=cpu", *overrides)


@pytest.fixture
def make_context(tmp_path_factory):
    """A run in a new folder, and the values that it records."""

    def make(config):
        context = RunContext(config, tmp_path_factory.mktemp("run"))
        values = {}

        def record(name, value, step):
            assert step >= len(values.setdefault(name, []))
            values[name].append(value)

        context.record = record
        return context, values

    return make


@pytest.fixture
def run_fit(quiet, config, make_videos, make_context):
    """Fits a stage on five videos of blocks, or others; gives the score and what is recorded."""

    def run(stage, *overrides, videos=None):
        context, values = make_context(config("batch_size=2", *overrides))
        with quiet().part("fit", 1) as progress:
            splits = videos or (make_videos(5), make_videos(4))
            return fit(stage, *splits, context, progress), values

    return run


def test_stage_0_takes_the_loss_of_the_mean_logits_and_stages_1_and_3_of_all_steps():
    # Means (log 3, 0) and (log 3 / 2, log 3 / 2): log(4/3) and log 2, halved.
    logits = torch.tensor([[[2 * LOG_3, 0.0], [0.0, 0.0]], [[0.0, LOG_3], [LOG_3, 0.0]]])
    loss = Unfrozen().loss(logits, torch.tensor([0, 1]))
    assert loss.item() == pytest.approx((math.log(4 / 3) + math.log(2)) / 2)
    assert Unfrozen().final(logits)[0].tolist() == pytest.approx([LOG_3, 0.0])
    # Probability of the true class at the four steps: 3/4, 1/4 for label 0; 1/2, 3/4 for label 1.
    logits = torch.tensor([[[LOG_3, 0.0], [0.0, LOG_3]], [[0.0, 0.0], [0.0, LOG_3]]])
    loss = MeanColour().loss(logits, torch.tensor([0, 1]))
    steps = [math.log(4 / 3), math.log(4), math.log(2), math.log(4 / 3)]
    assert loss.item() == pytest.approx(sum(steps) / 4)
    assert MeanColour().final(logits).tolist() == [pytest.approx([0.0, LOG_3])] * 2


def _rates(config, epochs, batches, base=0.4):
    """The learning rate of every batch."""
    optimizer = make_optimizer([(nn.Linear(1, 1), base)], config)
    scheduler = make_scheduler(optimizer, config, epochs, batches)
    rates = []
    for _ in range(epochs * batches):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


def test_the_cosine_is_the_published_one_without_its_epoch_of_rate_0(config):
    rates = _rates(config("lr_type=cos", "optimizer=sgd"), epochs=4, batches=3)
    # 0.4 / 2 * (1 + cos(pi e / 4)) for e = 0..3, set at the start of each epoch
    by_epoch = [0.4, 0.2 + 0.2 * math.sqrt(0.5), 0.2, 0.2 - 0.2 * math.sqrt(0.5)]
    assert rates == pytest.approx([rate for rate in by_epoch for _ in range(3)])


def test_the_step_divides_by_ten_at_each_of_its_epochs(config):
    for steps, expected in (
        ("[2]", [0.4, 0.4, 0.04, 0.04, 0.04]),
        ("[1,3]", [0.4, 0.04, 0.04, 0.004, 0.004]),
        ("[50,100]", [0.4] * 5),
    ):
        settings = config("lr_type=step", "optimizer=sgd", f"lr_steps={steps}")
        rates = _rates(settings, epochs=5, batches=2)
        assert rates == pytest.approx([rate for rate in expected for _ in range(2)])


def test_one_cycle_warms_up_to_the_rate_of_each_group_and_anneals(config):
    rates = _rates(config("lr_type=onecycle", "optimizer=adamw"), epochs=10, batches=10)
    assert max(rates) == pytest.approx(0.4)
    assert rates.index(max(rates)) == 29
    assert rates[0] == pytest.approx(0.4 / 25)
    assert rates[-1] < 1e-4
    settings = config("lr_type=onecycle", "optimizer=sgd")
    optimizer = make_optimizer([(nn.Linear(1, 1), 0.4), (nn.Linear(1, 1), 0.1)], settings)
    scheduler = make_scheduler(optimizer, settings, 4, 2)
    for _ in range(7):
        first, second = (group["lr"] for group in optimizer.param_groups)
        assert first == pytest.approx(4 * second, rel=1e-6)
        optimizer.step()
        scheduler.step()


def test_sgd_has_the_published_momentum_and_decay_and_adamw_the_configured(config):
    modules = [nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), nn.Linear(2, 2)]
    groups = [(modules[0], 0.1), (modules[1], 0.2)]
    optimizer = make_optimizer(groups, config("optimizer=sgd", "lr_type=cos"))
    assert type(optimizer) is torch.optim.SGD
    for module, group, rate in zip(modules, optimizer.param_groups, (0.1, 0.2), strict=True):
        assert [id(p) for p in group["params"]] == [id(p) for p in module.parameters()]
        assert (group["lr"], group["momentum"], group["weight_decay"]) == (rate, 0.9, 1e-4)
    optimizer = make_optimizer([(nn.Linear(1, 1), 0.1)], config("weight_decay=0.5"))
    assert type(optimizer) is torch.optim.AdamW
    assert optimizer.param_groups[0]["weight_decay"] == 0.5


def _batches(videos, *, epoch=0, batch_size=2, workers=0, train=True, share=None):
    how = {"batch_size": batch_size, "workers": workers, "train": train, "share": share}
    return list(load_batches(LabelledClips(videos, seed=3), epoch, **how))


def _joined(batches):
    """Frames, labels, and the random numbers: places, skips, shares."""
    each = [(b.frames, b.labels, *vars(b.chance).values()) for b in batches]
    return [torch.cat(tensors) for tensors in zip(*each, strict=True)]


def _indices(videos, batch_size, train, share=None):
    batches = _batches(videos, batch_size=batch_size, train=train, share=share)
    return [batch.indices.tolist() for batch in batches]


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize(("count", "how"), [(7, {"workers": 2}), (8, {"batch_size": 4})], ids=str)
def test_clips_and_their_order_depend_on_neither_workers_nor_batch(make_videos, train, count, how):
    one, other = (_joined(_batches(make_videos(count), train=train, **more)) for more in ({}, how))
    assert all(map(torch.equal, one, other))


def test_training_batches_are_shuffled_and_whole_and_validation_sees_all_in_order(make_videos):
    videos = make_videos(7, num_classes=7)
    again, *epochs = (_joined(_batches(videos, epoch=e, batch_size=3))[1] for e in (0, 0, 1, 2))
    orders = [labels.tolist() for labels in epochs]
    assert all(len(set(labels)) == len(labels) == 6 for labels in orders)
    assert orders[0] != orders[1] != orders[2]
    assert orders[0] == again.tolist()
    assert _indices(videos, 3, False) == [[0, 1, 2], [3, 4, 5], [6]]


def test_processes_and_parts_share_the_batches_of_one_and_validation_videos(make_videos):
    videos = make_videos(17, num_classes=17)
    whole = _indices(videos, 8, True)
    assert [len(batch) for batch in whole] == [8, 8]
    shares = [_indices(videos, 8, True, Share(rank, count=2, parts=2)) for rank in (0, 1)]
    for k, batch in enumerate(whole):
        (a, b), (c, d) = (share[2 * k : 2 * k + 2] for share in shares)
        assert a + b + c + d == batch
    shares = [_indices(make_videos(7), 2, False, Share(rank, 3)) for rank in range(3)]
    assert shares == [[[0, 3], [6]], [[1, 4]], [[2, 5]]]


def test_every_epoch_has_clips_of_its_own_and_random_numbers_between_0_and_1(make_videos):
    videos = make_videos(4)
    drawn = [_joined(_batches(videos, epoch=epoch, train=False)) for epoch in (0, 1, 0)]
    names = ("frames", "labels", "places", "skips", "shares")
    for name, one, other, same in zip(names, *drawn, strict=True):
        assert torch.equal(one, same)
        assert torch.equal(one, other) == (name == "labels")
    frames, _, *drawn = _joined(_batches(make_videos(40), train=False))
    assert [tuple(numbers.shape) for numbers in drawn] == [(40, 4, 2), (40, 4), (40,)]
    assert frames.dtype == torch.uint8
    for numbers in drawn:
        assert numbers.dtype == torch.float64
        assert 0.0 <= numbers.min() < 0.05
        assert 0.95 < numbers.max() < 1.0
        assert numbers.mean().item() == pytest.approx(0.5, abs=0.1)
    assert VALIDATION_EPOCH == 2**32 - 1


def test_it_trains_in_training_mode_on_whole_batches_and_judges_in_evaluation_mode(run_fit):
    stage = MeanColour()
    run_fit(stage, "epochs=2", "eval_freq=1")
    # Five training videos make two batches of two, four validation videos two.
    assert stage.modes == [True, True, False, False] * 2
    assert stage.sizes == [2] * 8
    stage = MeanColour()
    run_fit(stage, "epochs=1", "batch_size=64")
    assert stage.sizes == [5, 4]


def _judged(monkeypatch, stage, scores):
    """Gives these scores; returns the weights that were judged."""
    seen = []

    def judge(_, epoch):
        seen.append(stage.layer[1].weight.detach().clone())
        return dataclasses.replace(scores[len(seen) - 1], epoch=epoch)

    monkeypatch.setattr(Validation, "score", judge)
    return seen


@pytest.mark.parametrize(
    ("epochs", "eval_freq", "evaluated"), [(5, 2, [1, 3, 4]), (4, 2, [1, 3]), (3, 5, [2])]
)
def test_it_judges_every_few_epochs_and_at_the_end(
    run_fit, monkeypatch, epochs, eval_freq, evaluated
):
    stage = MeanColour()
    # Each better than the one before, so the last one judged is kept.
    seen = _judged(monkeypatch, stage, [Score(0, k / 10, 1.0, 0.5) for k in range(3)])
    result, _ = run_fit(stage, f"epochs={epochs}", f"eval_freq={eval_freq}")
    assert len(seen) == len(evaluated)
    assert result.epoch == evaluated[-1]


@pytest.mark.parametrize(("select_by", "best"), [("top1", 1), ("map", 2)])
def test_it_keeps_the_first_best_epoch_by_the_chosen_metric(run_fit, monkeypatch, select_by, best):
    stage = MeanColour()
    values = [(0.2, 0.1), (0.9, 0.3), (0.5, 0.4), (0.9, 0.4)]
    seen = _judged(monkeypatch, stage, [Score(0, top1, 1.0, mean) for top1, mean in values])
    result, recorded = run_fit(stage, "epochs=4", "eval_freq=1", f"select_by={select_by}")
    assert result == Score(best, values[best][0], 1.0, values[best][1])
    assert torch.equal(stage.layer[1].weight, seen[best])
    assert not torch.equal(seen[0], seen[1])
    assert list(zip(recorded["val/top1"], recorded["val/map"], strict=True)) == values


def test_the_events_have_loss_top1_and_the_rate_that_each_epoch_trained_with(run_fit):
    settings = ("epochs=4", "eval_freq=3", "lr_type=cos", "optimizer=sgd")
    _, values = run_fit(MeanColour(0.4), *settings)
    assert len(values["train/loss"]) == 4
    assert all(0.0 <= value <= 1.0 for value in values["train/top1"])
    assert len(values["val/top1"]) == 2
    assert values["train/loss"][0] == pytest.approx(LOG_3, abs=0.6)
    expected = [0.2 * (1 + math.cos(math.pi * epoch / 4)) for epoch in range(4)]
    assert values["train/learning_rate"] == pytest.approx(expected)


def test_the_same_seed_gives_the_same_weights(run_fit):
    weights = []
    for seed in (1, 1, 2):
        stage = MeanColour()
        run_fit(stage, "epochs=2", f"seed={seed}")
        weights.append(stage.layer[1].weight.detach())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_loss_that_is_not_finite_and_splits_of_other_classes_are_errors(run_fit, make_videos):
    stage = MeanColour()
    with pytest.raises(ConfigError, match="training and validation split have different class"):
        run_fit(stage, "epochs=1", videos=(make_videos(5), make_videos(5, num_classes=4)))
    torch.nn.init.constant_(stage.layer[1].bias, float("nan"))
    with pytest.raises(FloatingPointError, match=r"loss became nan; lower backbone_lr or fc_lr"):
        run_fit(stage, "epochs=1")


@pytest.mark.parametrize("batch_size", [2, 64])
def test_the_score_is_that_of_the_last_step(config, make_videos, make_context, batch_size):
    logits = torch.tensor([[1.0, 0.0, 0.0]] * 3 + [[0.0, 1.0, 0.0]])  # class 1 at the last step
    stage = MeanColour()
    stage.predict = lambda batch, frozen: logits.expand(len(batch.frames), 4, 3)
    # Labels 0, 1, 2, 0, 1: two of five; three classes are all among the first five.
    context, _ = make_context(config(f"batch_size={batch_size}"))
    score = Validation(stage, make_videos(5), context).score(3)
    assert (score.epoch, score.top1, score.top5) == (3, pytest.approx(0.4), 1.0)


class Remembering(MeanColour):
    """Mean colours as frozen features; counts how often they are asked for."""

    looks = 0

    def frozen_features(self, batch):
        self.looks += len(batch.frames)
        return batch.frames.float().mean(dim=(3, 4)) / 255.0

    def predict(self, batch, frozen):
        self.modes.append(batch is not None)
        return self.layer(frozen)


@pytest.mark.parametrize("frozen_is_all", [False, True])
def test_what_is_frozen_is_computed_once_for_each_validation_video(
    config, make_videos, make_context, frozen_is_all
):
    context, _ = make_context(config("batch_size=2"))
    stage = Remembering()
    stage.frozen_is_all = frozen_is_all
    validation = Validation(stage, make_videos(5), context)
    first, second = validation.score(0), validation.score(0)
    assert stage.looks == 5
    assert first == second
    assert stage.modes == [True] * 3 + [not frozen_is_all] * 3  # whether frames were loaded
    assert first == Validation(MeanColour(), make_videos(5), context).score(0)
