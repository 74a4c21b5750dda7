"""Answers many requests of any videos with few model calls of bounded size.

Each piece is encoded once, however many windows look at it; what was encoded or answered a moment ago in this process
is not done again. The preparing thread makes the next batch ready while the model works on this one.
"""

from __future__ import annotations

import time
import unicodedata
from collections.abc import Hashable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from analyzers.models.vlm.decode import PREFILL_TOKENS_MAX, DecodeFigures, Row, decode
from analyzers.models.vlm.family import Family, Features, Piece, Prepared, Prompt, Request
from analyzers.models.vlm.memo import Memo

FEATURES_BYTES_MAX: Final = 256 << 20
"""Vision features that a process keeps: of Qwen2-VL-2B's half seconds, 0.8 MB each, about 5 minutes of video."""
ANSWERS_BYTES_MAX: Final = 4 << 20
"""Texts that a process keeps."""

PATCHES_MAX: Final = 16384
"""Patches per call of the vision tower. More: its activations grow, and a GPU is no busier; fewer: it idles."""
CPU_CALL_TOKENS: Final = 1024
"""Patches per vision call and tokens per prefill call on a CPU: what a call works on stays in the cache. With 16 times
as many, an elementwise operation took 2.7 times as long for each."""
PROMPT_TOKENS_MAX: Final = 16384
"""A longer prompt is refused: pieces, pixels and text have bounds of their own that keep far below it."""

FEATURES: Final[Memo[Features]] = Memo(FEATURES_BYTES_MAX)
ANSWERS: Final[Memo[str]] = Memo(ANSWERS_BYTES_MAX)


@dataclass
class Figures(DecodeFigures):
    """What an engine has done so far; seconds are wall time of the model's thread, `prepare_s` of the preparing one.

    Operations of a forward pass are about 2 x parameters x tokens: `vision_patches` with the family's
    `vision_parameters`, `prefill_tokens` and `decode_tokens` with its `decoder_parameters`. `waited_s` is how long the
    model's thread waited for the preparing one.
    """

    requests: int = 0
    answers_reused: int = 0
    pieces: int = 0
    pieces_encoded: int = 0
    prepare_s: float = 0.0
    waited_s: float = 0.0
    vision_patches: int = 0
    vision_s: float = 0.0
    batches: int = 0


class Engine:
    """One loaded family and its memory of what it has seen.

    Args:
        family: the architecture.
        tokens_per_batch: bound on rows x (prompt + new tokens) of one decoded batch, and, up to `PATCHES_MAX`, on the
            patches of one call of the vision tower.
        share: whether pieces are encoded once and repeated answers kept (False is for comparison).
        remember: whether that memory outlives a call.
    """

    def __init__(
        self, family: Family, *, tokens_per_batch: int = 32768, share: bool = True, remember: bool = True
    ) -> None:
        self.family = family
        self.figures = Figures()
        self._tokens_per_batch, self._share, self._remember = tokens_per_batch, share, remember
        on_gpu = family.device.startswith("cuda")
        self._patches_max = min(tokens_per_batch, PATCHES_MAX if on_gpu else CPU_CALL_TOKENS)
        self._prefill_max = min(tokens_per_batch, PREFILL_TOKENS_MAX if on_gpu else CPU_CALL_TOKENS)
        self._preparing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="prepare")

    def answer(self, requests: Sequence[Request]) -> list[str]:
        """One text per request, in their order: plain, without special tokens, on one line.

        Raises:
            torch.OutOfMemoryError: the batch does not fit; the worker halves its items.
        """
        import torch

        self.figures.requests += len(requests)
        names = self._names(requests)
        answers: Memo[str] = ANSWERS if self._remember and self._share else Memo(ANSWERS_BYTES_MAX)
        known: dict[Hashable, str] = {}
        for name in dict.fromkeys(names):
            kept = answers.get((self.family.identity, name))
            if kept is not None:
                known[name] = kept
        wanted = {name: request for name, request in zip(names, requests, strict=True) if name not in known}
        self.figures.answers_reused += len(requests) - len(wanted)
        with torch.inference_mode():
            for name, text in self._answer_new(wanted):
                known[name] = text
                answers.put((self.family.identity, name), text, 4 * len(text) + 64)
        return [known[name] for name in names]

    def tokens_of(self, text: str) -> int:
        """How many tokens a text is."""
        return len(self.family.tokenizer(text, add_special_tokens=False)["input_ids"])

    def _names(self, requests: Sequence[Request]) -> list[Hashable]:
        """What a request is known by: its content, or without sharing just its number."""
        if not self._share:
            return list(range(len(requests)))
        # Frames are digested on the preparing thread, whose time is not the model's.
        return [future.result() for future in [self._preparing.submit(_key_of, request) for request in requests]]

    def _answer_new(self, wanted: Mapping[Hashable, Request]) -> Iterable[tuple[Hashable, str]]:
        prompts = {name: self.family.prompt(request) for name, request in wanted.items()}
        for prompt in prompts.values():
            if len(prompt) > PROMPT_TOKENS_MAX:
                raise ValueError(f"a prompt may have {PROMPT_TOKENS_MAX} tokens, got {len(prompt)}")
        buckets = _buckets(prompts, wanted, self._tokens_per_batch)
        features: Memo[Features] = FEATURES if self._remember and self._share else Memo(FEATURES_BYTES_MAX)
        ahead: dict[Hashable, Future[Prepared]] = {}
        for number, bucket in enumerate(buckets):
            self._prepare(bucket, wanted, features, ahead)
            seen = self._see(bucket, wanted, features, ahead)
            if number + 1 < len(buckets):
                self._prepare(buckets[number + 1], wanted, features, ahead)
            rows = [self._row(prompts[name], wanted[name], [seen[piece] for piece in pieces])
                    for name, pieces in ((name, self._pieces(name, wanted[name])) for name in bucket)]  # fmt: skip
            self.figures.batches += 1
            for name, tokens in zip(bucket, decode(self.family, rows, self.figures, self._prefill_max), strict=True):
                yield name, tidy(self.family.tokenizer.decode(tokens, skip_special_tokens=True))

    def _pieces(self, name: Hashable, request: Request) -> list[Hashable]:
        if self._share:
            return [(self.family.identity, piece.key) for piece in request.pieces]
        return [(name, place) for place in range(len(request.pieces))]

    def _prepare(
        self,
        bucket: Sequence[Hashable],
        wanted: Mapping[Hashable, Request],
        features: Memo[Features],
        ahead: dict[Hashable, Future[Prepared]],
    ) -> None:
        """Hand the pieces of a bucket that are not known yet to the preparing thread."""
        for name in bucket:
            for key, piece in zip(self._pieces(name, wanted[name]), wanted[name].pieces, strict=True):
                if key not in ahead and features.get(key) is None:
                    ahead[key] = self._preparing.submit(self._timed_prepare, piece)

    def _timed_prepare(self, piece: Piece) -> Prepared:
        began_s = time.perf_counter()
        prepared = self.family.prepare(piece)
        self.figures.prepare_s += time.perf_counter() - began_s
        return prepared

    def _see(
        self,
        bucket: Sequence[Hashable],
        wanted: Mapping[Hashable, Request],
        features: Memo[Features],
        ahead: dict[Hashable, Future[Prepared]],
    ) -> dict[Hashable, Features]:
        """Features of a bucket's pieces: kept ones, or made of what was prepared, in calls of bounded cost."""
        keys = list(dict.fromkeys(key for name in bucket for key in self._pieces(name, wanted[name])))
        seen: dict[Hashable, Features] = {}
        waiting: dict[Hashable, list[tuple[Hashable, Prepared]]] = {}
        for key in keys:
            kept = features.get(key)
            if kept is not None:
                seen[key] = kept
                continue
            if key not in ahead:  # it left the memory since
                piece = next(
                    piece for name in bucket
                    for other, piece in zip(self._pieces(name, wanted[name]), wanted[name].pieces, strict=True)
                    if other == key
                )  # fmt: skip
                ahead[key] = self._preparing.submit(self._timed_prepare, piece)
            began_s = time.perf_counter()
            prepared = ahead.pop(key).result()
            self.figures.waited_s += time.perf_counter() - began_s
            group = waiting.setdefault(prepared.group, [])
            if group and sum(one.cost for _, one in group) + prepared.cost > self._patches_max:
                seen |= self._encode(group)
                group.clear()
            group.append((key, prepared))
        for group in waiting.values():
            seen |= self._encode(group)
        self.figures.pieces += sum(len(wanted[name].pieces) for name in bucket)
        for key, one in seen.items():
            features.put(key, one, one.nbytes)
        return seen

    def _encode(self, group: Sequence[tuple[Hashable, Prepared]]) -> dict[Hashable, Features]:
        began_s = time.perf_counter()
        found = self.family.encode([prepared for _, prepared in group])
        if self.family.device.startswith("cuda"):
            import torch

            torch.cuda.synchronize(self.family.device)
        self.figures.vision_s += time.perf_counter() - began_s
        self.figures.vision_patches += sum(prepared.cost for _, prepared in group)
        self.figures.pieces_encoded += len(group)
        return {key: one for (key, _), one in zip(group, found, strict=True)}

    def _row(self, prompt: Prompt, request: Request, features: Sequence[Features]) -> Row:
        import torch

        device = self.family.device
        embeds = self.family.embeddings(torch.from_numpy(prompt.ids).to(device))
        if features:
            embeds[torch.from_numpy(prompt.places).to(device)] = torch.cat([one.places for one in features]).to(embeds)
        deeper = tuple(torch.cat(level) for level in zip(*(one.deeper for one in features), strict=True))
        return Row(embeds, prompt.places, prompt.positions, prompt.next_position, deeper,
                   request.new_tokens_max, request.new_tokens_min)  # fmt: skip


def _key_of(request: Request) -> Hashable:
    return request.key


def _buckets(
    prompts: Mapping[Hashable, Prompt], wanted: Mapping[Hashable, Request], tokens_max: int
) -> list[list[Hashable]]:
    """Requests of similar length together, as many as the bound on rows x tokens allows, one at least."""
    lengths = {name: len(prompt) + wanted[name].new_tokens_max for name, prompt in prompts.items()}
    buckets: list[list[Hashable]] = []
    for name in sorted(prompts, key=lambda name: lengths[name]):
        # The longest so far is this one; sorting is stable, so that windows of a video stay neighbours.
        if not buckets or (len(buckets[-1]) + 1) * lengths[name] > tokens_max:
            buckets.append([])
        buckets[-1].append(name)
    return buckets


def tidy(text: str) -> str:
    """A model's words on one line, without control characters and torn characters."""
    kept = "".join(
        " " if char.isspace() else char for char in text if char.isspace() or unicodedata.category(char)[0] != "C"
    )
    return " ".join(kept.replace("\N{REPLACEMENT CHARACTER}", " ").split())


def operations(family: Family, figures: Figures) -> dict[str, float]:
    """Floating-point operations that the figures stand for, by phase; attention's own products are left out."""
    return {
        "vision": 2.0 * family.vision_parameters * figures.vision_patches,
        "prefill": 2.0 * family.decoder_parameters * figures.prefill_tokens,
        "decode": 2.0 * family.decoder_parameters * figures.decode_tokens,
    }
