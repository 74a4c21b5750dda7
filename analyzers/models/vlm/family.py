"""What an architecture must say to be run by the engine. The engine batches, shares and decodes; a family knows shapes.

piece    a few frames that the architecture encodes alone: a half second of two frames, or one picture
prepared the piece as the vision tower wants it: resized, normalized, in patches (CPU, on the preparing thread)
features what the vision tower makes of it: one vector per place in the prompt
request  a question about some pieces, or about a text alone
prompt   its tokens, with places that the features fill, and the position of each
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

PIECES_MAX: Final = 64
"""Pieces of one request; each is bounded in pixels by its family."""


@dataclass(frozen=True, eq=False)
class Piece:
    """Frames that are encoded together, and alone.

    Args:
        frames: uint8 [N, H, W, 3], RGB; N is what the family takes at once.
    """

    frames: npt.NDArray[np.uint8]

    @cached_property
    def key(self) -> bytes:
        """Names the content: equal frames have equal keys."""
        digest = hashlib.blake2b(repr(self.frames.shape).encode(), digest_size=16)
        digest.update(np.ascontiguousarray(self.frames).data)
        return digest.digest()


@dataclass(frozen=True)
class Request:
    """One question to the model.

    Args:
        text: the instruction. Text that comes from a video or a model must have been through `as_data`.
        pieces: what is looked at, in the order of time; none for a question about text alone.
        new_tokens_max: where the answer is cut off.
        new_tokens_min: the answer does not end before.
    """

    text: str
    pieces: tuple[Piece, ...] = ()
    new_tokens_max: int = 48
    new_tokens_min: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.new_tokens_min <= self.new_tokens_max:
            raise ValueError(f"0 <= new_tokens_min <= new_tokens_max, got {self.new_tokens_min}, {self.new_tokens_max}")
        if len(self.pieces) > PIECES_MAX:
            raise ValueError(f"a request may look at {PIECES_MAX} pieces, got {len(self.pieces)}")
        if self.new_tokens_max < 1:
            raise ValueError(f"new_tokens_max must be >= 1, got {self.new_tokens_max}")

    @property
    def key(self) -> tuple[Any, ...]:
        """Requests with equal keys have equal answers: decoding is greedy."""
        return (self.text, self.new_tokens_min, self.new_tokens_max, *(piece.key for piece in self.pieces))


@dataclass(frozen=True, eq=False)
class Prepared:
    """A piece as the vision tower wants it.

    Args:
        values: a torch tensor on the CPU, or several, as the family's `encode` expects them.
        cost: how many vision tokens the tower computes with for it (patches): a call's sum of costs is bounded.
        group: only pieces of an equal group are encoded in one call, for example their size in patches.
    """

    values: Any
    cost: int
    group: Hashable


@dataclass(frozen=True, eq=False)
class Features:
    """What the vision tower says about a piece.

    Args:
        places: a torch tensor [P, D]: embeddings for the P places of the piece in a prompt.
        deeper: tensors [P, D] that are added behind the first decoder layers (Qwen3-VL's deepstack).
    """

    places: Any
    deeper: tuple[Any, ...] = ()

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return sum(tensor.numel() * tensor.element_size() for tensor in (self.places, *self.deeper))


@dataclass(frozen=True, eq=False)
class Prompt:
    """A request in tokens.

    Args:
        ids: int64 [L]; at the places any id of the vocabulary (the family's placeholder).
        places: bool [L]: where features go, piece after piece.
        positions: int64 [C, L], rotary or learned positions; C is 1, or 3 where time, height and width have their own.
        next_position: of the first new token, on all C axes.
    """

    ids: npt.NDArray[np.int64]
    places: npt.NDArray[np.bool_]
    positions: npt.NDArray[np.int64]
    next_position: int

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(eq=False)
class Family(ABC):
    """One loaded architecture.

    Args:
        tokenizer: transformers' tokenizer; `decode(ids, skip_special_tokens=True)` must leave plain text.
        language_model: the decoder without its head; see `hidden`.
        head: hidden [.., D] to logits [.., V].
        embeddings: ids to [.., D].
        end_tokens: ids that end an answer.
        device: ``cpu`` or ``cuda:0``.
        dtype: the `torch.dtype` of activations.
        vision_parameters: of the vision tower and projection, for counting operations.
        decoder_parameters: of the decoder with its head.
    """

    tokenizer: Any
    language_model: Any
    head: Any
    embeddings: Any
    end_tokens: frozenset[int]
    device: str
    dtype: Any
    vision_parameters: int = 0
    decoder_parameters: int = 0
    identity: str = field(default="")
    """Names weights, precision and limits: what is remembered of one identity is not used for another."""

    frames_per_piece: ClassVar[int] = 1

    @abstractmethod
    def places_of(self, piece: Piece) -> int:
        """How many places a piece fills in a prompt, from its shape alone."""

    @abstractmethod
    def prepare(self, piece: Piece) -> Prepared:
        """Resize, normalize, patchify. Runs on the preparing thread: no model, no GPU, nothing shared is written."""

    @abstractmethod
    def encode(self, prepared: Sequence[Prepared]) -> list[Features]:
        """One call of the vision tower for pieces of one group. A piece's features do not depend on the others'."""

    @abstractmethod
    def prompt(self, request: Request) -> Prompt:
        """The request in the words of the model's chat template."""

    def hidden(
        self,
        embeds: Any,
        mask: Any,
        positions: Any,
        cache: Any,
        places: Any = None,
        deeper: tuple[Any, ...] = (),
    ) -> Any:
        """The decoder's last hidden states [B, L, D], over what `cache` holds already.

        Args:
            embeds: [B, L, D].
            mask: int64 [B, cached + L], 0 at padding, which is on the left; None where there is no padding.
            positions: int64 [C, B, L].
            cache: a transformers Cache.
            places: bool [B, L] in the first call, None afterwards.
            deeper: see `Features`; all places of the call one after another.
        """
        return self.language_model(
            inputs_embeds=embeds,
            attention_mask=mask,
            position_ids=positions[0],
            past_key_values=cache,
            use_cache=True,
        ).last_hidden_state


def without_special(text: str, tokenizer: Any) -> str:
    """Text in which no special token of a tokenizer is left, so that it cannot end a turn or stand for a picture."""
    found = True
    while found:  # taking one out can make another
        found = False
        for token in {*tokenizer.get_added_vocab(), *tokenizer.all_special_tokens}:
            if token and token in text:
                text, found = text.replace(token, ""), True
    return text
