"""The weights of a fusion: fixed ones by arm, or a model that chooses them for each query."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from numbers import Real
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from hybridrank.component.protocols import WeightModel
from hybridrank.component.registry import PartOption
from hybridrank.errors import BackendResponseError, ConfigError, InputError
from hybridrank.types import Query, Ranking
from hybridrank.values.arguments import real_number
from hybridrank.values.printable import shown

__all__ = ["Weights", "are_per_query", "weights_for"]


class _WeightsOption(PartOption):
    """A field that accepts weights by arm, or a `WeightModel`, like fields for other components."""

    def names_part(self, value: Any) -> bool:
        return not isinstance(value, Mapping) or "use" in value

    def _validate(self, value: Any) -> Any:
        if not isinstance(value, str | Mapping) and not callable(getattr(value, "weights", None)):
            raise ConfigError(f"must be a table of weights by arm, or a weight model, not {shown(value)}")
        if self.names_part(value):
            return super()._validate(value)
        weights = {}
        for arm, weight in value.items():
            if not isinstance(arm, str):
                raise ConfigError(f"an arm's name must be a string, not {shown(arm)}")
            try:
                weights[arm] = real_number(weight, "it")
            except InputError as error:
                raise ConfigError(str(error).removeprefix("it "), path=f"$.{arm}") from None
            if not 0 <= weights[arm] < float("inf"):
                raise ConfigError(f"must be finite and at least 0, not {shown(weight)}", path=f"$.{arm}")
        return weights

    def _serialize(self, value: Any) -> dict[str, Any]:
        return dict(value) if isinstance(value, Mapping) else super()._serialize(value)


if TYPE_CHECKING:
    Weights: TypeAlias = Mapping[str, float] | WeightModel
else:
    Weights = Annotated[Any, _WeightsOption("weight-model")]
    """Weights by arm, the pipeline's name for a retriever, an arm without one having weight 1; or a model."""


def are_per_query(fusion: Any) -> bool:
    """Whether a fusion's weights depend on the query."""
    weights = getattr(fusion, "weights", None)
    return weights is not None and not isinstance(weights, Mapping)


def weights_for(weights: Weights, query: Query, rankings: Mapping[str, Ranking]) -> dict[str, float]:
    """The weight of each ranking.

    Raises:
        BackendResponseError: a model returned something else than finite weights of at least zero.
    """
    if isinstance(weights, Mapping):
        return {arm: weights.get(arm, 1.0) for arm in rankings}
    source = f'the weight model "{getattr(weights, "use", type(weights).__name__)}"'
    chosen = weights.weights(query, rankings)
    if not isinstance(chosen, Mapping):
        raise BackendResponseError(f"{source} returned a {type(chosen).__name__}, not weights by arm")
    for arm, weight in chosen.items():
        if not isinstance(weight, Real) or isinstance(weight, bool) or not isfinite(weight) or weight < 0:
            raise BackendResponseError(
                f"{source} gave {arm!r} the weight {shown(weight)}, not a finite one of at least 0"
            )
    return {arm: float(chosen.get(arm, 1.0)) for arm in rankings}
