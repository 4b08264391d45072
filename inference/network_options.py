"""Options of the networks between which a session switches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FOR_ALL = frozenset({"random_weights"})


class NetworkOptions:
    """Options, each kept with the network it was given for: another one may not know it, or mean else by it.

    Args:
        network: whose `options` are; those in `FOR_ALL` hold for every network.
    """

    def __init__(self, network: str, options: Mapping[str, Any]) -> None:
        self._each: dict[str, dict[str, Any]] = {network: dict(options)}
        self._for_all = {k: v for k, v in options.items() if k in FOR_ALL}

    def of(self, network: str) -> dict[str, Any]:
        """Those with which a network is made, its own to change."""
        return dict(self._each.get(network, self._for_all))

    def change(self, network: str, options: Mapping[str, Any]) -> None:
        """It has these from now on, besides those that it has."""
        self._each[network] = {**self.of(network), **options}
