"""A camera's features by their SFNC names, with errors that name the camera and the bounds."""

from __future__ import annotations

from capture.errors import CameraError
from capture.genicam.aravis import Aravis, AravisError

Value = float | int | str | bool


class Features:
    """Reads and writes features of one open camera. For the SDK's thread only.

    Args:
        aravis: the library.
        device: its handle of the camera.
        name: of the camera, for messages.
    """

    def __init__(self, aravis: Aravis, device: int, name: str) -> None:
        self._a, self._device, self.name = aravis, device, name
        self._there: set[str] = set()

    def has(self, feature: str) -> bool:
        """The camera has this feature, and it could be used when it was first seen."""
        # Only what is there is kept in mind: what is not may come with another line, trigger or chunk.
        if feature not in self._there:
            try:
                if not self._a.device_is_feature_available(self._device, feature.encode()):
                    return False
            except AravisError:
                return False
            self._there.add(feature)
        return True

    def first(self, *features: str) -> str | None:
        """The first of these that the camera has."""
        return next((f for f in features if self.has(f)), None)

    def entries(self, feature: str) -> list[str]:
        """What an enumeration may be; [] where the camera does not have it."""
        try:
            return self._a.entries(self._device, feature) if self.has(feature) else []
        except AravisError:
            return []

    def bounds(self, feature: str, floating: bool = True) -> tuple[float, float]:
        """Lowest and highest value now. Raises `CameraError`."""
        return self._a.bounds(self._device, feature, floating)

    def step(self, feature: str) -> int:
        """Of an integer; 1 where the camera does not say."""
        try:
            return max(1, int(self._a.device_get_integer_feature_increment(self._device, feature.encode())))
        except AravisError:
            return 1

    # -- reading -------------------------------------------------------------------------------------------

    def text(self, feature: str) -> str:
        """A string or an enumeration's entry."""
        raw: bytes | None = self._a.device_get_string_feature_value(self._device, feature.encode())
        return (raw or b"").decode("utf-8", "replace")

    def number(self, feature: str) -> float:
        """A float."""
        return float(self._a.device_get_float_feature_value(self._device, feature.encode()))

    def whole(self, feature: str) -> int:
        """An integer."""
        return int(self._a.device_get_integer_feature_value(self._device, feature.encode()))

    def switch(self, feature: str) -> bool:
        """A boolean."""
        return bool(self._a.device_get_boolean_feature_value(self._device, feature.encode()))

    # -- writing -------------------------------------------------------------------------------------------

    def write(self, feature: str, value: Value) -> None:
        """Write a feature by the type of the value. Raises `CameraError` as the camera says it."""
        d, f = self._device, feature.encode()
        try:
            if isinstance(value, bool):
                self._a.device_set_boolean_feature_value(d, f, value)
            elif isinstance(value, int):
                self._a.device_set_integer_feature_value(d, f, value)
            elif isinstance(value, float):
                self._a.device_set_float_feature_value(d, f, value)
            else:
                self._a.device_set_string_feature_value(d, f, value.encode())
        except AravisError as e:
            raise CameraError(f"{self.name}: {feature} cannot be set to {value} ({e})") from e

    def write_within(self, feature: str, value: float | int, setting: str, why: str = "") -> None:
        """Write a number after looking at its bounds.

        Args:
            setting: what a person calls it.
            why: what the bounds hang on, for the message.

        Raises:
            CameraError: out of range (says which), or refused.
        """
        low, high = self.bounds(feature, isinstance(value, float))
        if not low <= value <= high:
            hint = f" ({why})" if why else ""
            raise CameraError(
                f"{self.name}: {setting} {value:g} is out of range; "
                f"the camera takes {low:g} to {high:g} now{hint}"
            )
        if isinstance(value, int) and (step := self.step(feature)) > 1 and round(value - low) % step:
            raise CameraError(
                f"{self.name}: {setting} {value} is not possible; "
                f"the camera takes multiples of {step} from {low:g}"
            )
        self.write(feature, value)

    def choose(self, feature: str, value: str, setting: str) -> None:
        """Choose an entry. Raises `CameraError` with the list of those there are."""
        entries = self.entries(feature)
        if value not in entries:
            known = f"it has {', '.join(entries)}" if entries else f"it has no {feature}"
            raise CameraError(f"{self.name}: {setting} {value!r} is not possible with this camera; {known}")
        self.write(feature, value)

    def try_to(self, feature: str, value: Value) -> bool:
        """Write where there is such a feature that can be written; whether it was."""
        if not self.has(feature):
            return False
        try:
            self.write(feature, value)
        except CameraError:
            return False
        return True

    def execute(self, feature: str) -> None:
        """Run a command."""
        self._a.device_execute_command(self._device, feature.encode())
