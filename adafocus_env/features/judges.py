"""Judges: classifiers for videos that others have learned from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from adafocus_env.networks.glancer import freeze
from adafocus_env.networks.loading import AnyRecognizer

_Classified = tuple[Tensor, ...]


@dataclass(frozen=True)
class Judges:
    """Recognizers with other classifiers, each for some of a split's videos.

    A classifier is nearly certain of the videos that it has learned from, wherever one looks. With
    judges that have not seen them (cross-fitting), rewards on a training split are what they would
    be on others.

    Attributes:
        recognizers: with the same glancer and focuser, frozen.
        of_video: which of them judges each video of the split.
    """

    recognizers: Sequence[AnyRecognizer]
    of_video: Sequence[int]

    def check(self, recognizer: AnyRecognizer, num_videos: int) -> None:
        """Refuse judges that see otherwise than a recognizer, or that are for another split.

        Raises:
            ValueError: the message says what differs.
        """
        if len(self.of_video) != num_videos:
            raise ValueError(
                f"there are judges for {len(self.of_video)} videos, and the split has {num_videos}"
            )
        wanted = (recognizer.glancer_fingerprint(), recognizer.focuser_fingerprint())
        for number, judge in enumerate(self.recognizers):
            freeze(judge)
            if (judge.glancer_fingerprint(), judge.focuser_fingerprint()) != wanted:
                raise ValueError(
                    f"judge {number} has another glancer or focuser than the recognizer; only "
                    "classifiers may differ"
                )
            if judge.state_size != recognizer.state_size:
                raise ValueError(
                    f"judge {number} has a classifier of {judge.state_size} units, the recognizer "
                    f"one of {recognizer.state_size}"
                )

    def classify_step(
        self, videos: Sequence[int], context: Tensor, patch_vectors: Tensor, state: Tensor
    ) -> tuple[Tensor, Tensor]:
        """As the recognizer's, each row by the judge of its video."""
        logits, after = self._each(
            lambda judge, *parts: judge.classify_step(*parts), videos, context, patch_vectors, state
        )
        return logits, after

    def classify_each(
        self, videos: Sequence[int], context: Tensor, patch_vectors: Tensor, state: Tensor
    ) -> Tensor:
        """Likewise."""
        (logits,) = self._each(
            lambda judge, *parts: (judge.classify_each(*parts),),
            *(videos, context, patch_vectors, state),
        )
        return logits

    def classify_sequence(
        self, videos: Sequence[int], context: Tensor, patch_vectors: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Likewise."""
        logits, states = self._each(
            lambda judge, *parts: judge.classify_sequence(*parts), videos, context, patch_vectors
        )
        return logits, states

    def _each(
        self, classify: Callable[..., _Classified], videos: Sequence[int], *inputs: Tensor
    ) -> _Classified:
        """Rows go to their judges, all of a judge together, and come back in their order."""
        number = torch.tensor([self.of_video[video] for video in videos])
        parts, order = [], []
        for own in number.unique().tolist():
            index = (number == own).nonzero()[:, 0]
            order.append(index)
            placed = index.to(inputs[0].device)
            parts.append(classify(self.recognizers[own], *(each[placed] for each in inputs)))
        back = torch.cat(order).argsort().to(inputs[0].device)
        return tuple(torch.cat(each)[back] for each in zip(*parts, strict=True))
