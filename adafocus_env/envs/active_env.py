"""ActiveVisionEnv: what was seen decides where to look next, as a Gymnasium environment."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from adafocus_env.envs.active_rendering import LoopView
from adafocus_env.envs.closed_loop import ActiveVisionCore
from adafocus_env.envs.episode_env import EpisodeEnv
from adafocus_env.envs.factory import make_active_core
from adafocus_env.envs.rendering import FrameView


class ActiveVisionEnv(EpisodeEnv):
    """Look at patches of a video's frames, one after the other, and see what each look showed.

    ## Description

    The videos, frozen networks and looks of `PatchLocalizationEnv`, whose docstring says what they
    are. There an agent sees glances alone, and what its looks showed stays with the classifier.
    Here the loop is closed: each observation holds what the last patch showed, where it was, and
    what the classifier believes so far. Each frame is shown for `looks_per_frame`
    looks, and the classifier takes a step for each, with that frame's glance. A still picture is a
    video of one frame.

    ## Action Space

    `Discrete(G * G)`, 49 for the default grid of 7: as of `PatchLocalizationEnv`. With `stop=True`
    there is one action more, the last, `G * G`, which ends the episode. With
    `locations="continuous"` it is `Box(0, 1, (2,), float32)`, and there is no such action.

    ## Observation Space

    A `Dict`, of which `observation` names some entries; all float32 and within finite bounds:

    | entry | space | what it shows |
    |---|---|---|
    | `glance` | `Box(0, 6, (C, h, w))` | the glance map of the frame that is looked at next |
    | `patch` | `Box(0, 64, (F,))` | features of the last patch, cut off at 64; zeros before it |
    | `origin` | `Box(0, 1, (3,))` | (row, column) in fractions of the free range, and 1; zeros |
    | `belief` | `Box(0, 1, (K,))` | softmax of the classifier so far; 1 / K before the first look |
    | `progress` | `Box(0, 1, (2,))` | which share of the frames, and of all looks, is done |

    `observation="glance"` alone is the open loop, for comparison: still a `Dict`. With
    `patch_pixels=True` `patch` is `Box(0, 255, (3, P, P), uint8)`, the pixels of the last patch.
    The label is in none of them. The observation after the last step repeats the last frame's
    glance.

    ## Rewards

    `information` (default): `log p_t(y) - log p_(t-1)(y)` in nats, where p is the softmax
    probability of the true class y after the look, 1 / K before the first one of K classes, and
    taken for 1e-4 where it is lower. The return of an episode is `log p_T(y) + log K`, whatever
    came between. The other rewards are those of `PatchLocalizationEnv`. `look_cost` is subtracted
    for each look. The action that ends the episode costs nothing and brings nothing: with a cost of
    looks, ending early is learned.

    ## Starting State

    As of `PatchLocalizationEnv`: its first frame, and nothing seen yet.

    ## Episode End

    After `T * looks_per_frame` looks, or by the action that ends it, with `terminated=True`; what
    was not seen till then is not paid for. `truncated` is always False.

    ## Arguments

    Those of `PatchLocalizationEnv` about videos, recognizer, grid, bank and device, and

    | argument | default | meaning |
    |---|---|---|
    | `looks_per_frame` | 1 | looks at each frame |
    | `observation` | all | a name of the table above, or a list of them |
    | `patch_pixels` | False | pixels of the last patch instead of its features; not with a bank |
    | `reward` | `"information"` | see Rewards |
    | `look_cost` | 0.0 | price of a look, in units of the reward |
    | `stop` | False | one action more, which ends the episode |
    | `locations` | `"grid"` | or `"continuous"` |
    | `baseline_positions` | `"grid"` | of the reward `random`; live also `"pixel"` |

    ## Reset Options

    `video_index` and `episode_seed`, as of `PatchLocalizationEnv`.

    ## Info

    As of `PatchLocalizationEnv`, and after a step `multiply_adds`: what glancer, focuser and
    classifier have spent in the episode so far, the glance of each frame that was shown included.
    `frame_index` is the frame that was looked at; the `patch_box` of the action that ends the
    episode is (0, 0, 0, 0).

    ## Rendering

    `"rgb_array"` draws the frame looked at with its patches, the last patch enlarged beside it, and
    the belief as bars. Every action is possible at any time; `action_masks()` says so.

    ## Vectorized

    `gymnasium.make_vec` gives `ActiveVisionVectorEnv`: row i equals this environment seeded with
    `seed + i`.

    ## Version History

    * v0: initial version.

    Raises:
        FileNotFoundError: the recognizer, the bank or a file of the data set is missing.
        ValueError: a bad argument, or recognizer and videos that do not fit.
    """

    core: ActiveVisionCore
    _build: ClassVar[Callable[..., ActiveVisionCore]] = staticmethod(make_active_core)
    _view_type: ClassVar[type[FrameView]] = LoopView

    def _observation(self) -> Any:
        return {name: part[0].cpu().numpy() for name, part in self.core.observe_loop().items()}
