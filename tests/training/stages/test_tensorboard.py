"""What TensorBoard shows of a policy: heat maps, reward parts, an episode."""

import io
import logging
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from adafocus_env.data import VideoError
from adafocus_env.envs import PatchGrid
from agents.baselines.simple import center_agent
from agents.evaluation import evaluate_agent
from train.evaluation.report.video import gif_bytes
from train.stages.policy.tensorboard import EpisodePictures, RolloutLooks, heat_map, make_logger


@pytest.fixture
def logger(tmp_path):
    """Writes into `tmp_path`."""
    made = make_logger(tmp_path, continuing=False)
    yield made
    made.close()


def _events(folder):
    return EventAccumulator(str(folder)).Reload()


def _info(confidence, baseline, top, left):
    box = np.array([top, left, 12, 12])
    return {"confidence": confidence, "baseline_confidence": baseline, "patch_box": box}


@pytest.fixture
def looks(logger):
    """Notes the looks of a rollout: what is called with the `locals` of each step."""
    callback = RolloutLooks(PatchGrid(4, 40, 12))
    callback.model = SimpleNamespace(logger=logger, num_timesteps=0)

    def play(*steps):
        for callback.locals in steps:
            callback.on_step()
            callback.on_rollout_end()
        callback.record_locations()

    return play


def test_reward_parts_are_means_and_looks_are_counted_until_they_are_recorded(
    looks, logger, tmp_path
):
    # Positions of the grid are 0, 9, 18 and 28 pixels from the edge.
    looks(
        {"infos": [_info(0.5, 0.25, 0, 0), _info(0.7, 0.35, 0, 1)]},
        {"infos": [_info(0.9, 0.3, 28, 28), _info(0.1, 0.1, 28, 25)]},
    )
    logger.dump(7)
    events = _events(tmp_path)
    values = {tag: events.Scalars(tag)[0].value for tag in events.Tags()["scalars"]}
    # Two positions have half of the looks each.
    expected = {"confidence": 0.55, "baseline_confidence": 0.25, "location_entropy_bits": 1.0}
    assert values == pytest.approx({f"rollout/{name}": v for name, v in expected.items()})
    assert events.Scalars("rollout/confidence")[0].step == 7
    (image,) = events.Images("rollout/locations")
    picture = np.asarray(Image.open(io.BytesIO(image.encoded_image_string)))
    assert picture.shape == (96, 96, 3)
    assert (picture[0, 0] == picture[95, 95]).all()
    assert (picture[0, 0] != picture[0, 95]).any()
    looks()  # nothing since: nothing to record
    assert "rollout/locations" not in logger.name_to_value


def test_infos_of_another_environment_are_left_alone(looks, logger):
    looks({}, {"infos": [{}]})
    assert not logger.name_to_value


def test_the_most_looked_at_position_is_yellow_and_the_others_are_darker():
    picture = heat_map(np.array([0, 1, 2, 4]))
    colors = matplotlib.colormaps["viridis"](np.array([0.0, 0.25, 0.5, 1.0]), bytes=True)[:, :3]
    assert picture.shape == (48, 48, 3)
    for color, (row, column) in zip(colors, ((0, 0), (0, 47), (47, 0), (47, 47)), strict=True):
        assert (picture[row, column] == color).all()


def test_a_continued_run_keeps_the_table_of_the_run_before(tmp_path):
    for continuing in (False, True, True):
        logger = make_logger(tmp_path, continuing=continuing)
        logger.record("val/return", 1.0)
        logger.dump(1)
        logger.close()
    names = sorted(file.name for file in tmp_path.glob("*.csv"))
    assert names == ["progress.csv", "progress_2.csv", "progress_3.csv"]
    assert all((tmp_path / name).read_text() == "val/return\n1.0\n" for name in names)


@pytest.fixture
def center(make_vector_env):
    """The center agent on five videos of four frames."""
    env = make_vector_env(5, autoreset_mode="disabled")
    return evaluate_agent(env, center_agent(env.core))


def test_an_episode_is_drawn_every_few_epochs_and_after_the_last(
    center, make_videos, logger, tmp_path
):
    pictures, before = EpisodePictures(make_videos(), frequency=4, epochs=10), 0
    for epoch in (2, 4, 6, 8, 10):
        pictures.record(logger, center, before, epoch)
        logger.record("val/return", 0.0)
        logger.dump(epoch)
        before = epoch
    images = _events(tmp_path).Images("val/episode")
    assert [image.step for image in images] == [4, 8, 10]
    with Image.open(io.BytesIO(images[0].encoded_image_string)) as gif:
        assert (gif.format, gif.n_frames) == ("GIF", 4)
        assert (gif.width, gif.height) == (images[0].width, images[0].height) == (220, 267)
    EpisodePictures(make_videos(), frequency=0, epochs=1).record(logger, center, 0, 1)
    assert not logger.name_to_value


def test_a_video_that_cannot_be_read_is_said_once_and_training_goes_on(
    center, make_videos, logger, caplog
):
    videos = make_videos()

    def missing(index, episode_seed):
        raise VideoError(f"video {index} is not there")

    videos.clip = missing
    pictures = EpisodePictures(videos, frequency=1, epochs=3)
    with caplog.at_level(logging.WARNING):
        for epoch in (1, 2, 3):
            pictures.record(logger, center, epoch - 1, epoch)
    assert caplog.messages == [
        "TensorBoard gets no videos of episodes, because video 0 is not there"
    ]
    assert not logger.name_to_value


def test_a_gif_has_the_frames_their_colours_and_their_time():
    frames = [np.full((4, 6, 3), color, np.uint8) for color in ((250, 10, 10), (10, 10, 250))]
    with Image.open(io.BytesIO(gif_bytes(frames, 2.5))) as gif:
        assert (gif.n_frames, gif.size) == (2, (6, 4))
        assert (gif.info["duration"], gif.info["loop"]) == (400, 0)
        for number, frame in enumerate(frames):
            gif.seek(number)
            shown = np.asarray(gif.convert("RGB")).astype(int)
            assert np.abs(shown - frame).max() <= 8
    with pytest.raises(ValueError, match="at least one frame"):
        gif_bytes([], 1.0)
