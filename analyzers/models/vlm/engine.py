"""Answers many requests of any videos with few model calls of bounded size.

Each piece is encoded once, however many windows look at it; what was encoded or answered a moment ago in this process
is not done again. The preparing thread makes the next batch ready while the model works on this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from analyzers.models.vlm.family import Family, Request


@dataclass
class Figures:
    """What the engine has done so far; seconds are wall time of the model's thread.

    Operations of a forward pass are about 2 x parameters x tokens: `vision_patches` with the family's
    `vision_parameters`, `prefill_tokens` and `decode_tokens` with its `decoder_parameters`.
    """

    requests: int = 0
    answers_reused: int = 0
    pieces: int = 0
    pieces_encoded: int = 0
    prepare_s: float = 0.0
    prepare_waited_s: float = 0.0
    vision_patches: int = 0
    vision_s: float = 0.0
    prefill_tokens: int = 0
    prefill_s: float = 0.0
    decode_tokens: int = 0
    decode_s: float = 0.0
    decode_steps: int = 0
    batches: int = 0


class Engine:
    """One loaded family and its memory of what it has seen.

    Args:
        family: the architecture.
        tokens_per_batch: bound on rows x (prompt + new tokens) of one decoded batch, and on the patches of one call of
            the vision tower.
        share: whether pieces are encoded once and repeated answers kept (False is for comparison).
        remember: whether that memory outlives a call.
    """

    def __init__(
        self, family: Family, *, tokens_per_batch: int = 32768, share: bool = True, remember: bool = True
    ) -> None:
        self.family = family
        self.figures = Figures()

    def answer(self, requests: Sequence[Request]) -> list[str]:
        """One text per request, in their order: plain, without special tokens, on one line.

        Raises:
            torch.OutOfMemoryError: the batch does not fit; the worker halves its items.
        """
        raise NotImplementedError
