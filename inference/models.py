"""The networks by name: what can be chosen, whether it can run here, and how to make it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from capture.errors import UsageError
from capture.validation import did_you_mean
from inference.restorers.base import RANDOM_FLAG, Restorer
from sync.rig import Rig

# Called with rig, options and device; where a file of weights is given (`create`) with that, too.
Factory = Callable[..., Restorer]


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """A row of the network chooser.

    Attributes:
        name: what `create` takes.
        takes: what it needs, in words.
        weights: where its weights come from.
        usable: it can run here and now.
        reason: why not, one line; "" when usable.
        any_latent: gives any instant of the exposure; False: only fixed ones.
        events: needs events; False: frames alone will do.
    """

    name: str
    takes: str
    weights: str
    usable: bool = True
    reason: str = ""
    any_latent: bool = True
    events: bool = True


def _lazily(module: str, restorer: str) -> Factory:
    """Makes `inference.restorers.MODULE.RESTORER`, imported only when it is chosen.

    Numba and torch take seconds that neither `--help` nor another restorer should pay for.
    """

    def make(*given: Any) -> Restorer:
        made: Restorer = getattr(import_module(f"inference.restorers.{module}"), restorer)(*given)
        return made

    return make


FRAMES_ONLY = "needs events, and this source has frames only"

# In the order of the chooser; None: no restorer yet.
_MODELS: dict[str, tuple[ModelChoice, Factory | None]] = {
    "edi": (
        ModelChoice("edi", "blurry frame + events", "none needed (physical model)"),
        _lazily("edi", "EdiRestorer"),
    ),
    "glint": (
        ModelChoice("glint", "blurry frame + events", "shipped (ours)"),
        _lazily("glint", "GlintRestorer"),
    ),
    "glint-large": (
        ModelChoice("glint-large", "as glint, but wider: for GPUs and offline", "shipped (ours)"),
        _lazily("glint", "GlintLargeRestorer"),
    ),
    "none": (
        ModelChoice("none", "blurry frame", "none needed (passes the frame through)", events=False),
        _lazily("passthrough", "PassThrough"),
    ),
    "efnet": (
        ModelChoice("efnet", "blurry frame + events (SCER)", "EFNet's", any_latent=False),
        _lazily("efnet", "EfnetRestorer"),
    ),
    "gem": (
        ModelChoice("gem", "blurry frame + events (EGER), at any scale", "GEM's"),
        _lazily("gem", "GemRestorer"),
    ),
    "sc-net": (
        ModelChoice("sc-net", "blurry frame + event counts of 3 windows", "none published", any_latent=False),
        _lazily("sc_net", "ScNetRestorer"),
    ),
    "stra": (
        ModelChoice("stra", "blurry frame + event counts of 3 windows", "none published", any_latent=False),
        _lazily("sc_net", "StraRestorer"),
    ),
    "cdvd-tsp": (
        ModelChoice("cdvd-tsp", "5 blurry frames, no events", "CDVD-TSP's", any_latent=False, events=False),
        _lazily("cdvd_tsp", "CdvdTspRestorer"),
    ),
    "s-sdm-ldn": (
        ModelChoice("s-sdm-ldn", "blurry frame + spikes (derived from events)", "S-SDM's LDN"),
        _lazily("s_sdm", "LdnRestorer"),
    ),
}
# Those with a card, see `inference.store`.
_WITH_WEIGHTS = frozenset({"glint", "glint-large", "efnet", "gem", "sc-net", "stra", "cdvd-tsp", "s-sdm-ldn"})


def register(name: str, factory: Factory) -> None:
    """Say how a network of the list becomes a restorer; until then it is offered greyed.

    Call it where this module is imported in every process, at its end, with a function that imports the
    restorer only when called.

    Raises:
        UsageError: the name is not in the list.
    """
    if name not in _MODELS:
        raise UsageError(f"unknown network {name!r}; {did_you_mean(name, _MODELS)}known: {', '.join(_MODELS)}")
    _MODELS[name] = (_MODELS[name][0], factory)


def names() -> list[str]:
    """Names of all networks, in the order of the chooser, whether they can run here or not."""
    return list(_MODELS)


def choices(*, events: bool = True, random_weights: bool = False, no_events: str = "") -> list[ModelChoice]:
    """Rows of the chooser, in order, with the reason for each that cannot run here.

    Args:
        events: False: the source has frames only.
        random_weights: networks run with random weights, whether they have others or not, and the row says so.
        no_events: why events are left out, of a source that has some.
    """
    rows = [_with_reason(choice) for choice, _ in _MODELS.values()]
    if random_weights:
        rows = [_with_random_weights(c) for c in rows]
    if events:
        return rows
    reason = f"needs events, and {no_events}" if no_events else FRAMES_ONLY
    return [replace(c, usable=False, reason=reason) if c.events and c.usable else c for c in rows]


def check(
    name: str, options: Mapping[str, Any] | None = None, *, events: bool = True, no_events: str = ""
) -> None:
    """Refuse a network that cannot run here, before anything is loaded.

    One without weights may run all the same with the option `random_weights`. `events`, `no_events`: see
    `require_events`.

    Raises:
        UsageError: unknown (lists the known ones), or not usable (says why).
    """
    known = {c.name: c for c in choices()}
    if name not in known:
        raise UsageError(f"unknown network {name!r}; {did_you_mean(name, known)}known: {', '.join(known)}")
    if not (known[name].usable or (options or {}).get("random_weights")):
        raise UsageError(f"network {name!r} cannot be used here: {known[name].reason}")
    require_events(name, events, no_events)


def no_residual(name: str) -> str:
    """Why a network has no re-blur residual, one line; "" where it has one (or is unknown)."""
    choice = _MODELS[name][0] if name in _MODELS else None
    if choice is None or choice.any_latent:
        return ""
    return f"{name} restores one instant only, so its pictures cannot be blurred again"


def needs_events(name: str) -> bool:
    """Whether a network takes events; also for an unknown one."""
    return name not in _MODELS or _MODELS[name][0].events


def require_events(name: str, events: bool, no_events: str = "") -> None:
    """Refuse a network that needs events on a source that has none, or whose events are left out: `no_events`.

    Raises:
        UsageError: names the networks that need none.
    """
    choice = _MODELS[name][0] if name in _MODELS else None
    if choice is not None and choice.events and not events:
        if no_events:
            raise UsageError(f"network {name!r} needs events, and {no_events}")
        others = " or ".join(c.name for c, _ in _MODELS.values() if not c.events)
        raise UsageError(f"network {name!r} needs events and the source has frames only; use {others}")


def _with_reason(choice: ModelChoice) -> ModelChoice:
    if choice.name not in _WITH_WEIGHTS:
        return choice
    # Imported here: `edi` alone should not pay for reading cards.
    from inference import store

    usable, reason = store.status(choice.name)
    if _MODELS[choice.name][1] is None:
        later = f"this version has no restorer for {choice.name} yet"
        usable, reason = False, f"{reason}; {later}" if reason else later
    return replace(choice, usable=usable, reason=reason)


def _with_random_weights(choice: ModelChoice) -> ModelChoice:
    if choice.name not in _WITH_WEIGHTS or _MODELS[choice.name][1] is None:
        return choice
    return replace(choice, weights=RANDOM_FLAG, usable=True, reason="")


def create(
    name: str,
    rig: Rig,
    options: Mapping[str, Any] | None = None,
    device: str = "auto",
    weights: Path | None = None,
) -> Restorer:
    """A restorer by name.

    Args:
        name: one of `names()`.
        rig: geometry, tone and thresholds.
        options: the restorer's own, see its `set`. `random_weights` means nothing to one without weights.
        device: "auto" (CUDA where there is one), "cpu", "cuda", "cuda:1", "mps".
        weights: a file that `store.add` wrote for this network, in place of the installed weights.

    Raises:
        UsageError: unknown network (lists the known ones), no weights or no restorer for it (with what to do),
            a file of weights for a network without any, unknown option, or no such device.
    """
    if name not in _MODELS:
        raise UsageError(f"unknown network {name!r}; {did_you_mean(name, _MODELS)}known: {', '.join(_MODELS)}")
    choice, factory = _MODELS[name]
    if factory is None:
        raise UsageError(f"network {name!r} cannot be used here: {_with_reason(choice).reason}")
    # A factory looks for weights itself: it may be asked for random ones, to measure.
    own = dict(options or {})
    if name not in _WITH_WEIGHTS:
        own.pop("random_weights", None)
        require_weights(name, weights)
    return factory(rig, own, device) if weights is None else factory(rig, own, device, weights)


def require_weights(name: str, file: Path | None) -> None:
    """Refuse a file of weights for a network without any.

    Raises:
        UsageError: it has none.
    """
    if file is not None and name not in _WITH_WEIGHTS:
        raise UsageError(f"network {name!r} has no weights, so none can be given ({file})")
