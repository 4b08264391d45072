"""What synthetic samples are drawn from: every range, with its unit."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from capture.validation import Strict


def _above_zero(span: tuple[float, float]) -> tuple[float, float]:
    if span[0] <= 0:
        raise ValueError(f"both ends are above 0, not {span[0]}…{span[1]}")
    return span


def _within(low: float, high: float) -> AfterValidator:
    """Holds a range within what the sensors and the drawing can be computed with."""

    def check(span: tuple[float, float]) -> tuple[float, float]:
        if not low <= span[0] <= span[1] <= high:
            raise ValueError(
                f"a range goes from low to high, within {low:g} to {high:g}, not {span[0]}…{span[1]}"
            )
        return span

    return AfterValidator(check)


Range = tuple[float, float]
Positive = Annotated[Range, AfterValidator(_above_zero)]
Rate = Annotated[Range, _within(0, 1e6)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class SynthesisConfig(Strict):
    """Ranges are drawn from evenly, or evenly in the logarithm where that is said.

    The defaults cover what rigs of today give: DAVIS346 and Prophesee sensors, handheld to traffic, day to
    night.
    """

    size: int = Field(default=128, ge=32, le=1024, multiple_of=8, description="side of a sample, image pixels")
    instants: int = Field(default=2, ge=1, le=64, description="sharp pictures of an exposure")
    middle_share: Share = Field(default=0.35, description="instants that are the middle of the exposure")
    colour_share: Share = Field(default=0.5, description="samples with three colours; the others are gray")

    # Scene
    layers: Annotated[tuple[int, int], _within(0, 64)] = Field(
        default=(0, 2), description="objects before the background"
    )
    drawn_share: Share = Field(
        default=0.2, description="backgrounds and objects that are drawn: print, stripes"
    )
    zoom: Annotated[Positive, _within(0.001, 1000)] = Field(
        default=(0.35, 1.0), description="image pixels per pixel of the photo"
    )
    contrast: Annotated[Range, _within(0, 100)] = Field(
        default=(0.6, 1.3), description="power on the light of a photo"
    )
    light: Annotated[Positive, _within(1e-6, 10000)] = Field(
        default=(0.25, 1.5), description="brightest part of a texture, 1 = white paper; log"
    )
    flat_share: Share = Field(default=0.12, description="pieces of photos that may show next to nothing")
    highlight_share: Share = Field(default=0.15, description="samples with lights that saturate")
    still_share: Share = Field(default=0.1, description="samples in which nothing moves")
    blur_px: Annotated[Positive, _within(1e-6, 100000)] = Field(
        default=(1.5, 30.0), description="path of the background in an exposure; log"
    )
    object_px: Annotated[Positive, _within(1e-6, 100000)] = Field(
        default=(1.5, 30.0), description="path of an object beside the background's; log"
    )
    speed_px_ms: float = Field(
        default=4.0, gt=0, allow_inf_nan=False, description="fastest that anything moves, px/ms"
    )
    turn_deg: float = Field(default=4.0, ge=0, le=45, description="most rotation in an exposure")
    growth: float = Field(default=0.06, ge=0, le=0.5, description="most change of scale in an exposure")
    tilt: float = Field(
        default=0.04, ge=0, le=0.5, description="most perspective in an exposure, over the size"
    )
    depth: float = Field(default=0.35, ge=0, le=0.9, description="parallax: spread of motion over a layer")
    wobble_px: float = Field(default=3.0, ge=0, le=50, description="most local deformation in an exposure")
    subframes: Annotated[tuple[int, int], _within(1, 4096)] = Field(
        default=(10, 64), description="fewest and most instants that are drawn"
    )

    # Event sensor
    scale_share: Share = Field(
        default=0.4, description="samples whose event pixels are coarser than the image's"
    )
    scale: Annotated[Positive, _within(0.25, 1024)] = Field(
        default=(1.5, 4.4), description="how many times coarser"
    )
    shift_px: float = Field(default=1.5, ge=0, le=8, description="most misregistration, image pixels")
    shift_share: Share = Field(default=0.4, description="samples of equal resolution that are misregistered")
    threshold: Annotated[Positive, _within(0.001, 10)] = Field(
        default=(0.08, 0.5), description="contrast threshold, natural log; log"
    )
    asymmetry: Annotated[Positive, _within(0.01, 100)] = Field(
        default=(0.7, 1.4), description="OFF over ON threshold; log"
    )
    threshold_sigma: Annotated[Range, _within(0, 10)] = Field(
        default=(0.0, 0.12), description="relative spread over the pixels"
    )
    refractory_us: Annotated[Positive, _within(0.001, 1e7)] = Field(
        default=(1.0, 300.0), description="dead time after an event; log"
    )
    leak_hz: Rate = Field(default=(0.0, 0.5), description="ON events of a pixel at rest, 1/s")
    shot_hz: Rate = Field(
        default=(0.0, 1.0),
        description="noise events of a pixel, 1/s: so many in the dark, 0.7 of it at mid gray",
    )
    dark_hz: Rate = Field(default=(0.0, 15.0), description="further ones in full darkness, 1/s")
    hot_share: Annotated[Range, _within(0, 1)] = Field(default=(0.0, 0.001), description="share of hot pixels")
    hot_hz: Annotated[Positive, _within(1e-6, 1e6)] = Field(
        default=(50.0, 3000.0), description="events of a hot pixel, 1/s; log"
    )
    cutoff_hz: Annotated[Positive, _within(1e-6, 1e9)] = Field(
        default=(300.0, 6000.0), description="bandwidth of a pixel that sees white; log"
    )
    cutoff_dark_hz: Annotated[Positive, _within(1e-6, 1e9)] = Field(
        default=(30.0, 300.0), description="bandwidth in full darkness; log"
    )
    dark_light: Annotated[Positive, _within(1e-9, 1000)] = Field(
        default=(0.001, 0.02), description="light that dark current stands for; log"
    )
    lost_share: Share = Field(default=0.08, description="samples in which the read-out loses events")

    # Frame sensor
    exposure_ms: Annotated[Positive, _within(0.01, 10000)] = Field(
        default=(1.0, 120.0), description="exposure; log"
    )
    noise_8bit: Annotated[Positive, _within(1e-9, 255)] = Field(
        default=(0.1, 6.0), description="noise at mid gray, grey levels of 255; log"
    )
    read_share: Annotated[Range, _within(0, 1)] = Field(
        default=(0.1, 0.7), description="part of that noise that does not grow with light"
    )
    column_8bit: Annotated[Range, _within(0, 255)] = Field(
        default=(0.0, 0.8), description="spread of the columns' offsets, grey levels"
    )
    srgb_share: Share = Field(default=0.3, description="samples with exactly sRGB's tone curve")
    linear_share: Share = Field(default=0.3, description="samples with linear pixel values")
    gamma: Annotated[Positive, _within(0.1, 10)] = Field(
        default=(1.1, 2.6), description="1 / power of light of all others"
    )
