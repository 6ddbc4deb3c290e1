"""What ``MethodSpec.build`` does, said once: nothing is loaded, or the weights of one network are."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from napari_emsynth.methods import get_by_name
from napari_emsynth.spec import Runtime

if TYPE_CHECKING:
    from napari_emsynth.training.recipe import Recipe

Build = Callable[[Any, Runtime, str | None], Any]


def unlearned(make: Callable[[Any], Any]) -> Build:
    """Return the ``build`` of a method that has nothing to load: ``make(params)`` is the method."""
    return lambda params, _runtime, _weights: make(params)


def learned(recipe: type[Recipe], make: Callable[[Any, Any, Any], Any]) -> Build:
    """Return the ``build`` of a method that is made around the network of a recipe.

    Args:
        recipe: says whose weights they are, and which network their card describes.
        make: ``make(network, card, params)`` is the method.

    Returns:
        It raises InputError where weights are missing, damaged or of another architecture.
    """

    def build(params: Any, _runtime: Runtime, weights: str | None) -> Any:
        from napari_emsynth.weights import store

        name = weights or get_by_name(recipe.method).weights[0]
        network, card = store.restored(recipe.method, name, recipe.network_of)
        return make(network, card, params)

    return build
