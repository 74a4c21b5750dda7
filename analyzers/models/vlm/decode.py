"""Greedy decoding of a batch of prompts: left-padded, with explicit positions, rows leaving as they finish.

Prompts are read in calls of bounded size, and written side by side into one cache with room for all new tokens, so
that many rows can be decoded at once without a large prefill, and no step copies what is there already. Each step
computes one row of logits per answer. The answers are those of transformers' own `generate(do_sample=False)`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from analyzers.models.vlm.family import Family

PREFILL_TOKENS_MAX: Final = 8192
"""Tokens per prefill call. More: the feed-forward layers' activations grow and a GPU is no busier; fewer: it idles."""
LEAVING_SHARE: Final = 1 / 8
"""Finished rows are taken out when they are this share of the batch: taking out copies the cache once."""


@dataclass(eq=False)
class Row:
    """One prompt, embedded.

    Args:
        embeds: tensor [L, D].
        places: bool [L], see `Prompt`.
        positions: int64 [C, L].
        next_position: of the first new token.
        deeper: tensors [places, D], see `Features`.
        new_tokens_max: where it is cut off.
        new_tokens_min: the answer does not end before.
    """

    embeds: Any
    places: npt.NDArray[np.bool_]
    positions: npt.NDArray[np.int64]
    next_position: int
    deeper: tuple[Any, ...]
    new_tokens_max: int
    new_tokens_min: int


@dataclass
class DecodeFigures:
    """Tokens, steps and seconds of prefill and decoding."""

    prefill_tokens: int = 0
    prefill_s: float = 0.0
    decode_tokens: int = 0
    decode_s: float = 0.0
    decode_steps: int = 0


@dataclass
class _Room:
    """What the layers of one cache share: how long it is, and which rows are being read."""

    rows: int
    width: int
    capacity: int
    length: int = 0
    filling: slice | None = None


def decode(
    family: Family, rows: Sequence[Row], figures: DecodeFigures, prefill_tokens_max: int = PREFILL_TOKENS_MAX
) -> list[list[int]]:
    """New tokens of each row, without its end token.

    Args:
        family: the model.
        rows: prompts; neighbours should be of similar length.
        figures: counted up.
        prefill_tokens_max: bound on rows x length of one prefill call, but one row at least.
    """
    import torch

    began_s = time.perf_counter()
    width = max(len(row.embeds) for row in rows)
    room = _Room(len(rows), width, width + max(row.new_tokens_max for row in rows))
    cached = _cache_class()(layer_class_to_replicate=partial(_layer_class(), room))
    padded = any(len(row.embeds) < width for row in rows)
    mask = torch.zeros((len(rows), room.capacity), dtype=torch.int64)
    for place, row in enumerate(rows):
        mask[place, width - len(row.embeds) :] = 1
    mask = mask.to(family.device)
    position = torch.tensor([row.next_position for row in rows]).to(family.device)
    axes = len(rows[0].positions)

    heads = [
        family.head(_prefill(family, rows[part], room, part, cached)[:, -1])
        for part in _parts([len(row.embeds) for row in rows], prefill_tokens_max)
    ]
    logits = torch.cat(heads)
    room.filling, room.length = None, width
    _wait_for(family)
    figures.prefill_tokens += sum(len(row.embeds) for row in rows)
    figures.prefill_s += time.perf_counter() - began_s

    began_s = time.perf_counter()
    ends = torch.tensor(sorted(family.end_tokens), device=family.device)
    made: list[list[int]] = [[] for _ in rows]
    here = list(range(len(rows)))  # which row stands at each place of the batch
    open_ = [True] * len(rows)
    while True:
        too_early = [at for at, number in enumerate(here) if len(made[number]) < rows[number].new_tokens_min]
        if too_early and len(ends):
            logits[torch.tensor(too_early, device=logits.device)[:, None], ends] = -torch.inf
        tokens = logits.argmax(-1)
        for place, token in enumerate(tokens.tolist()):
            number = here[place]
            if not open_[number]:
                continue
            if token in family.end_tokens:
                open_[number] = False
                continue
            made[number].append(token)
            open_[number] = len(made[number]) < rows[number].new_tokens_max
        staying = [place for place, number in enumerate(here) if open_[number]]
        figures.decode_tokens += len(here)
        figures.decode_steps += 1
        if not staying:
            break
        if len(here) - len(staying) >= max(1, LEAVING_SHARE * len(here)):
            chosen = torch.tensor(staying, device=family.device)
            cached.batch_select_indices(chosen)
            tokens, mask, position = tokens[chosen], mask[chosen], position[chosen]
            here = [here[place] for place in staying]
            room.rows = len(here)
        hidden = family.hidden(
            family.embeddings(tokens[:, None]),
            _mask(mask, padded, room.length + 1),
            position.expand(axes, 1, -1).transpose(1, 2),
            cached,
        )
        room.length += 1
        mask[:, room.length - 1] = 1
        position = position + 1
        logits = family.head(hidden[:, -1])
    figures.decode_s += time.perf_counter() - began_s
    return made


def _mask(mask: Any, padded: bool, length: int) -> Any:
    if not padded:
        return None  # the fast kernels of attention take no mask
    mask[:, length - 1] = 1
    return mask[:, :length]


def _parts(lengths: Sequence[int], tokens_max: int) -> list[slice]:
    """Neighbouring rows whose padded size stays within the bound."""
    parts, start = [], 0
    for end in range(1, len(lengths) + 1):
        if end == len(lengths) or (end + 1 - start) * max(lengths[start : end + 1]) > tokens_max:
            parts.append(slice(start, end))
            start = end
    return parts


def _prefill(family: Family, rows: Sequence[Row], room: _Room, part: slice, cached: Any) -> Any:
    """Hidden states [B, L, D] of some rows' prompts; their keys and values are in the cache afterwards."""
    import torch

    lengths = [len(row.embeds) for row in rows]
    width, axes = max(lengths), len(rows[0].positions)
    room.filling = part
    embeds = rows[0].embeds.new_zeros((len(rows), width, rows[0].embeds.shape[-1]))
    positions = np.zeros((axes, len(rows), width), np.int64)
    places = np.zeros((len(rows), width), np.bool_)
    for number, row in enumerate(rows):
        start = width - lengths[number]
        embeds[number, start:] = row.embeds
        positions[:, number, start:], places[number, start:] = row.positions, row.places
    mask = None
    if min(lengths) < width:
        mask = (torch.arange(width)[None] >= width - torch.tensor(lengths)[:, None]).long().to(family.device)
    depth = max(len(row.deeper) for row in rows)
    deeper = tuple(torch.cat([row.deeper[level] for row in rows if row.deeper]) for level in range(depth))
    return family.hidden(
        embeds,
        mask,
        torch.from_numpy(positions).to(family.device),
        cached,
        torch.from_numpy(places).to(family.device) if depth else None,
        deeper,
    )


def _wait_for(family: Family) -> None:
    """Let the GPU finish, so that a measured time is that of the work."""
    if family.device.startswith("cuda"):
        import torch

        torch.cuda.synchronize(family.device)


@cache
def _cache_class() -> Any:
    from transformers.cache_utils import Cache

    return Cache


@cache
def _layer_class() -> Any:
    from transformers.cache_utils import DynamicLayer

    class RoomLayer(DynamicLayer):  # type: ignore[misc, unused-ignore]
        """Keys and values [rows, heads, capacity, dim] of one layer, allocated once."""

        def __init__(self, room: _Room) -> None:
            super().__init__()
            self.room = room
            self.is_initialized: bool = False

        def update(self, key_states: Any, value_states: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
            room = self.room
            if not self.is_initialized:
                # Zeros, since what stands at padding is multiplied by a weight of zero.
                shape = (room.rows, key_states.shape[1], room.capacity)
                self.keys = key_states.new_zeros((*shape, key_states.shape[-1]))
                self.values = value_states.new_zeros((*shape, value_states.shape[-1]))
                self.dtype, self.device, self.is_initialized = key_states.dtype, key_states.device, True
            if room.filling is not None:
                start = room.width - key_states.shape[2]
                self.keys[room.filling, :, start : room.width] = key_states
                self.values[room.filling, :, start : room.width] = value_states
                return key_states, value_states
            end = room.length + 1
            self.keys[:, :, room.length : end], self.values[:, :, room.length : end] = key_states, value_states
            return self.keys[:, :, :end], self.values[:, :, :end]

        def get_seq_length(self) -> int:
            return 0 if self.room.filling is not None else self.room.length

        def batch_select_indices(self, indices: Any) -> None:
            self.keys, self.values = self.keys[indices], self.values[indices]

    return RoomLayer
