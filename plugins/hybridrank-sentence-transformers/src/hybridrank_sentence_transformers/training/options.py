"""What can be set for a training, and the defaults."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hybridrank.component import config_error
from hybridrank.training import Sampling

__all__ = ["TrainingOptions"]


class TrainingOptions(BaseModel):
    """How a model is trained; the same for rerankers and embedders.

    `negatives` and `positives` bound the documents of each query, `margin` and `sampling` choose the negatives, as
    `hybridrank.training.select` has it. A batch is of `batch_size` examples of the loss: queries with all their
    documents for a listwise one, pairs or triplets for others; `accumulate` batches make a step. `max_tokens` is
    the window, of query and document together for a reranker; the model keeps it.

    `evaluations` is how many times, evenly over the training, nDCG@10 of the dev queries is measured and a
    checkpoint kept; after `patience` of them without a better value training stops, and the best checkpoint is
    the result. `depth` is how many of the fused candidates are reranked for that, and for the test (None: all
    that were mined).

    `device` ``"cpu"`` keeps off a GPU; None takes the one that torch finds (``CUDA_VISIBLE_DEVICES`` says which).
    `precision` other than ``"float32"`` is mixed, and for GPUs.

    Raises:
        ConfigError: an option is unknown, or its value is wrong.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    epochs: float = Field(default=1.0, gt=0)
    batch_size: int = Field(default=8, ge=1)
    accumulate: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=2e-5, gt=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    max_tokens: int = Field(default=256, ge=16)
    negatives: int = Field(default=8, ge=1)
    positives: int = Field(default=4, ge=1)
    margin: float | None = 0.0
    sampling: Sampling = "random"
    evaluations: int = Field(default=4, ge=1)
    patience: int = Field(default=2, ge=1)
    depth: int | None = Field(default=None, ge=2)
    seed: int = Field(default=0, ge=0, lt=2**32)
    device: Literal["cpu"] | None = None
    precision: Literal["float32", "bfloat16", "float16"] = "float32"

    def __init__(self, **options: Any) -> None:
        try:
            super().__init__(**options)
        except ValidationError as error:
            raise config_error(
                error, type(self).model_fields, given=options, path="$", what="a training"
            ) from None
