"""The vision-language engine: windows of a video, vision features shared between them, one batched greedy decode."""
