"""PatchLocalizationEnv: where to look in a video, as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from adafocus_env.envs.episode_env import EpisodeEnv
from adafocus_env.envs.factory import make_core_from_parts
from adafocus_env.envs.open_loop import PatchLocalizationCore


class PatchLocalizationEnv(EpisodeEnv):
    """Look at one small patch of each frame, so that a frozen recognizer names the action.

    ## Description

    This is the decision problem of AdaFocus (Wang et al., ICCV 2021). A light *glancer* CNN has
    seen every frame at low cost. At each frame the agent places one square patch; a heavy *focuser*
    CNN sees only that patch; a recurrent *classifier* reads glance and patch and names the class.
    The three networks, together the *recognizer*, are frozen: they are the simulator. An episode
    is one video.

    Without arguments the environment shows its built-in videos: a yellow disc carries the digit
    that is the class, among moving shapes of other colours that carry other digits. The glance
    shows where the yellow disc is but rarely which digit it carries.

    `dataset="glyphs_memory"` is a task for policies with a memory: four discs drift smoothly, the
    three first frames show one of them in yellow and without a digit, and in the other five all are
    grey, each with another digit. The class is that of the disc that was yellow.

    `dataset="glyphs_order"` is a task for networks that see neighbouring frames: the yellow disc
    hardly moves and shows two digits one after the other; the class is which comes first.

    `dataset="glyphs_search"` is a task for closed loops (`AdaFocus/ActiveVision-v0`): in a still
    picture a disc carries the digit that is the class, eleven others arrows that lead to it.

    ## Temporal Shift

    With a recognizer of the Something-Something family, whose networks see neighbouring frames, an
    episode has D decisions (`video_div`, 1 as published). A clip has 12 frames and 8 more for
    glances; each of its D divisions holds 12 / D and 8 / D of them. A decision places the patch in
    all frames of its division. Its observation is the division's glance maps side by side on the
    channel axis. Class scores are the mean over all patches so far plus the glancer's own over its
    8 frames. `frame_index` then counts decisions.

    ## Action Space

    `Discrete(G * G)`, 49 for the default grid of 7. Action `a` puts the patch at row `a // G`,
    column `a % G` of a grid that spans the frame: 0 is the upper left corner, `G * G - 1` the lower
    right one. The top pixel of grid row `j` is `j * (frame_size - patch_size) // (G - 1)`.

    `AdaFocus/PatchLocalizationContinuous-v0` has `Box(0, 1, (2,), float32)`: the patch's
    (row, column) origin as fractions of the range in which it fits; pixels are rounded down.

    `AdaFocus/PatchLocalizationSkip-v0` has `Discrete(G * G + 1)`: the positions of the grid, and as
    last action `G * G` one that skips the frame (AdaFocus+). The focuser does not run then, and the
    classifier sees the glance with zeros in place of the patch's features. The shipped recognizer
    has not been trained on such zeros but bears them; `configs/experiment/glyphs_skip.yaml` says
    how to train one that knows them.

    ## Observation Space

    `Box(0, 6, (C, h, w), float32)`: the glancer's last feature map of the frame to be looked at,
    `(48, 7, 7)` for the built-in recognizer and `(1280, 7, 7)` for the published one. The bound is
    that of the glancer's last activation. With `observation="vector"` it is the map's mean over
    space, `(C,)`. Actions never change observations: step t always shows frame t. The observation
    after the last step repeats the last frame's.

    With `skip_cost="random"` there is one channel (or entry) more, the last, `C + 1` in all: the
    episode's cost, the same everywhere, as `bound * (cost / 0.2) ** (1 / 3)`.

    ## Rewards

    `confidence - baseline`, where confidence is the softmax probability of the true class after the
    step, and `reward` names what is subtracted:

    | reward | baseline |
    |---|---|
    | `random` (default) | confidence of one random patch, from the same classifier state |
    | `expected` | mean confidence over all grid positions, from the same classifier state |
    | `padding` | confidence with zeros in place of the patch's features |
    | `prev` | confidence after the previous step (0 at the first) |
    | `conf` | 0 |
    | `skip` | confidence of skipping the frame, from the same classifier state |
    | `information` | that after the previous step (1 / K at the first), of logarithms |

    `skip` is `padding`, but exactly 0 for a frame that is skipped. It is the default of
    `AdaFocus/PatchLocalizationSkip-v0`. Where an action skips, `skip_cost` is subtracted for every
    frame that is focused on, whatever the reward. It is a number, 0 or more, in units of
    confidence; or `"random"`: drawn for each episode from its seed as `0.2 * u**3`, u uniform in
    [0, 1), and shown in the observation, so that one policy learns to act at every cost.

    The baseline never enters the classifier's state. `expected` runs the focuser on G * G patches a
    frame, unless a bank holds their features.

    ## Starting State

    The next video of the split, in an order shuffled anew at each pass, at its first frame, with
    the classifier's state at zero. Reset with a seed begins a new order. With `augment` the frames,
    the crop and the flip of the clip are drawn from the episode's seed.

    ## Episode End

    After exactly T frames (`num_frames`) with `terminated=True`. `truncated` is always False and
    there is no time limit; `make_vec` refuses `max_episode_steps`, because all rows end together.

    ## Arguments

    All are keyword-only and of JSON types.

    | argument | default | meaning |
    |---|---|---|
    | `dataset` | `"glyphs"` | built in, or one of `adafocus_env.data.DATASETS` on disk |
    | `split` | `"val"` | `"train"`, `"val"` or `"test"` |
    | `data_dir` | None | folder of the list files, the class file and the videos or frames |
    | `lists` | None | fields of `adafocus_env.data.VideoLists` that differ from the data set's |
    | `media` | None | `"videos"` or extracted `"frames"`; None: as the data set is published |
    | `frame_rate` | None | frames a second to read video files at; None: their own |
    | `augment` | None | random frames, crops, flips; None: for the split `"train"` only |
    | `crop` | True | crop and resize videos; False: they have `frame_size` already |
    | `fit` | `"crop"` | the middle, as published; `"squash"` all, or `"pad"` with black bars |
    | `flip` | True | mirror half of the augmented clips; off where left and right matter |
    | `crops` | `"same"` | augmented glance frames cropped as the others, or `"independent"` |
    | `recognizer` | None | folder written by a stage; None: one that is shipped |
    | `num_frames` | None | T; None: as the recognizer was trained |
    | `video_div` | None | D, see Temporal Shift; None: as the recognizer was trained |
    | `locations` | `"grid"` | `"continuous"` for `(row, col)` actions, `"skip"` to skip frames |
    | `grid_size` | 7 | G, 4 to 10 |
    | `patch_size` | None | P in pixels; None: as the recognizer was trained |
    | `focus_size` | None | side to which patches are resized for the focuser; None: as they are |
    | `observation` | `"map"` | `"vector"` for the pooled map |
    | `reward` | `"random"` | see Rewards |
    | `baseline_positions` | `"pixel"` | random patches at any pixel, or on the `"grid"` |
    | `skip_cost` | None | number or `"random"`, see Rewards; None: 0.05 where an action skips |
    | `features` | `"live"` | or `"bank:PATH"`: stored by `adafocus bank`, see below |
    | `bank_device` | `"auto"` | where a bank lies: `"cpu"` reads files, `"cuda"` holds all of it |
    | `device` | `"auto"` | a GPU where there is one; or a torch device |
    | `amp` | `"none"` | networks in `"bf16"` or, on a GPU, `"fp16"`: rewards differ, up to 0.05 |
    | `compile` | False | `torch.compile` for the networks; the first reset takes a minute |
    | `num_workers` | 0 | processes that load clips, where announced ahead; changes no result |
    | `render_mode` | None | `"rgb_array"` |

    With `features="bank:PATH"` the features in `PATH/SPLIT`, which `adafocus bank` computed once,
    take the place of the networks; only the classifier runs. They are float16 and there for the
    grid alone, so `baseline_positions="grid"` is needed. A bank of other networks, clips, videos,
    positions or patches is refused. Training clips are then the bank's views. `bank_device="auto"`
    moves the bank to the GPU if it takes at most 60 % of the free memory.

    `from_parts(recognizer, videos, ...)` shares networks that are already loaded.

    ## Reset Options

    `video_index`: the video to show. `episode_seed`: the seed of all that is random in the episode.
    `skip_cost`, where an action skips: a number that goes before the argument in this episode, such
    as to evaluate a policy that was trained at random costs. Any other option is a ValueError.

    ## Info

    After reset: `video_index`, `frame_index` (0) and `label`. After a step: `video_index`;
    `frame_index`, which of the T frames was looked at; `label`; `confidence`;
    `baseline_confidence`; `predicted_label`; `patch_box`, int64 (top, left, height, width) in
    pixels; after the last step also `is_success`. The label is for evaluation and never part of an
    observation. Where an action skips, also `skip_cost`, the price of a look in this episode (after
    reset, too), and `skipped`; the `patch_box` of a skipped frame is (0, 0, 0, 0).

    ## Rendering

    `"rgb_array"` draws the frame just looked at with its patch, the trail of earlier patches and
    bars of the most probable classes. A skipped frame has no patch and says so.

    Every action is possible at every frame. `action_masks()` says so to sb3-contrib's MaskablePPO.

    ## Vectorized

    `gymnasium.make_vec` gives `PatchLocalizationVectorEnv`, which runs all rows through the
    networks together. Row i equals this environment seeded with `seed + i`.

    ## Version History

    * v0: initial version.

    Raises:
        FileNotFoundError: the recognizer, the bank or a file of the data set is missing.
        ValueError: a bad argument, or recognizer and videos that do not fit.
    """

    core: PatchLocalizationCore
    _build: ClassVar[Callable[..., PatchLocalizationCore]] = staticmethod(make_core_from_parts)
