"""What restorers with a network that use the contrast share: its options, and when it is learnt anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from capture.errors import UsageError
from inference.restorers.contrast_learner import (
    CONTRAST_OPTIONS,
    ContrastLearner,
    fixed_contrast,
    merged_options,
)
from inference.restorers.neural import NeuralRestorer
from sync.rig import Rig


class ContrastRestorer(NeuralRestorer):
    """A network that is told the contrast. See `contrast_learner.CONTRAST_OPTIONS` for the options."""

    own: ClassVar[tuple[str, ...]] = CONTRAST_OPTIONS

    def __init__(
        self, rig: Rig, options: Mapping[str, Any] | None = None, device: str = "auto",
        weights: Path | None = None,
    ) -> None:  # fmt: skip
        self._learner = ContrastLearner(rig)
        self._choice: tuple[Any, ...] = ()
        super().__init__(rig, options, device, weights)

    def set(self, options: dict[str, Any]) -> None:
        """See `NeuralRestorer.set`."""
        before = self.options
        # A pair that the new options override must not outlive them.
        self.options = {k: v for k, v in before.items() if k in merged_options(before, options)}
        try:
            super().set(options)
        except UsageError:
            self.options = before
            raise

    def _check_own(self, options: Mapping[str, Any]) -> None:
        super()._check_own(options)
        fixed_contrast(options, self.rig, self.name)

    def _changed(self) -> None:
        super()._changed()
        choice = tuple(self.options.get(k) for k in CONTRAST_OPTIONS)
        if choice != self._choice:
            self._choice = choice
            self._learner.restart()
        self._learner.fix(fixed_contrast(self.options, self.rig, self.name))
