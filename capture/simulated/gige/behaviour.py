"""How the simulated camera's features hang together: what follows from what, what is refused when."""

from __future__ import annotations

from capture.genicam.gvcp import Status
from capture.simulated.gige.features import CHUNKS
from capture.simulated.gige.pictures import Pictures
from capture.simulated.gige.readout import FORMATS, Readout, bytes_per_pixel
from capture.simulated.gige.registers import Refused, Registers

# Set by the camera itself while the automatic function runs.
_AUTOMATIC = {"ExposureTime": "ExposureAuto", "Gain": "GainAuto", "BalanceRatio": "BalanceWhiteAuto"}


def power_up(r: Registers, pictures: Pictures) -> None:
    """Values from the factory."""
    for name, value in (
        ("SensorWidth", pictures.width), ("SensorHeight", pictures.height), ("Width", pictures.width),
        ("Height", pictures.height), ("PixelFormat", FORMATS[pictures.layout][0]),
        ("ExposureTime", pictures.exposure_us), ("AcquisitionFrameRate", pictures.rate_hz),
        ("SensorShutterMode", "Rolling" if pictures.rolling else "Global"),
        ("DeviceTemperature", 41.5), ("BalanceRatio", 1.0),
    ):  # fmt: skip
        r.set(name, value)
    r.set("BalanceRatio", 1.0, 1)
    settle(r, pictures, "")


def allow(r: Registers, at: int) -> None:
    """Raises `Refused` where a feature may not be written just now."""
    found = r.feature_at(at)
    if found is None:
        return
    name = found[0].name
    auto = _AUTOMATIC.get(name)
    if auto is not None and r.entry(auto) != "Off":
        raise Refused(Status.WRITE_PROTECT)
    if name == "AcquisitionFrameRate" and not r.whole("AcquisitionFrameRateEnable"):
        raise Refused(Status.WRITE_PROTECT)


def settle(r: Registers, pictures: Pictures, name: str) -> None:
    """Make everything agree after the feature `name` has changed."""
    if name == "ExposureTime":
        r.set(name, float(round(r.get(name))))  # in whole microseconds
        pictures.set_exposure_us(r.get(name))
    elif name in ("AcquisitionFrameRate", "AcquisitionFrameRateEnable"):
        pictures.set_rate_hz(r.get("AcquisitionFrameRate"))
    exposure = r.get("ExposureTime")
    low, high = pictures.rate_range_hz()
    r.set("AcquisitionFrameRateMin", low)
    r.set("AcquisitionFrameRateMax", max(low, min(high, 1e6 / exposure)))
    if r.get("AcquisitionFrameRate") > r.get("AcquisitionFrameRateMax"):
        r.set("AcquisitionFrameRate", r.get("AcquisitionFrameRateMax"))
        pictures.set_rate_hz(r.get("AcquisitionFrameRate"))
    rate = r.get("AcquisitionFrameRate")
    r.set("AcquisitionResultingFrameRate", min(rate, 1e6 / exposure))
    shortest, longest = pictures.exposure_range_us()
    r.set("ExposureTimeMin", shortest)
    # A fixed frame rate leaves only so much of each period.
    r.set("ExposureTimeMax", min(longest, 1e6 / rate) if r.whole("AcquisitionFrameRateEnable") else longest)
    width, height = r.whole("SensorWidth"), r.whole("SensorHeight")
    r.set("WidthMax", (width - r.whole("OffsetX")) // 2 * 2)
    r.set("HeightMax", (height - r.whole("OffsetY")) // 2 * 2)
    r.set("OffsetXMax", width - r.whole("Width"))
    r.set("OffsetYMax", height - r.whole("Height"))
    image = r.whole("Width") * r.whole("Height") * bytes_per_pixel(r.entry("PixelFormat"))
    r.set("PayloadSize", image + chunk_bytes(r))


def chunks(r: Registers) -> list[str]:
    """Chunks that are appended just now."""
    on = bool(r.whole("ChunkModeActive"))
    return [n for k, n in enumerate(CHUNKS) if on and r.whole("ChunkEnable", k)]


def chunk_bytes(r: Registers) -> int:
    """What they take: 8 bytes each, with 8 of id and length; the image chunk's id and length."""
    return 8 + 16 * len(chunks(r)) if r.whole("ChunkModeActive") else 0


def readout(r: Registers) -> Readout:
    """How pictures are read just now."""
    region = (r.whole("Width"), r.whole("Height"), r.whole("OffsetX"), r.whole("OffsetY"))
    gain = 10 ** (r.get("Gain") / 20)
    return Readout(region, r.entry("PixelFormat"), gain, r.get("BalanceRatio"), r.get("BalanceRatio", 1))
