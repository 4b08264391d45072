"""Which network restores: the next one is made ready beside the one that runs; one that fails gives way.

The networks that ran last stay in memory, so that going back to one of them takes no time. Where memory is
short they are dropped first.

A network fails for good when it runs out of memory with none at rest, or when it fails
`FAILURES_BEFORE_FALLBACK` times in a row. Then frames pass through unchanged and the reason is said. What it
lacked may be there again a minute later: unless another network is chosen it is tried again, `RETRY_S` after it
gave way, then after pauses twice as long each time.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from inference import models
from inference.engine import Engine
from inference.lost_device import device_lost
from inference.memory import give_memory_back, out_of_memory
from inference.network_options import NetworkOptions
from inference.outcomes import line_of
from sync.rig import Rig

FAILURES_BEFORE_FALLBACK = 3
PASS_THROUGH = "none"
PASSES = "frames pass through"
"""In every message about a network that gave way."""
RETRY_S, LONGEST_RETRY_S = 60.0, 1920.0
"""Before a network that gave way is tried again: the first pause, and the longest."""
AT_REST = 2  # networks kept in memory beside the one that runs, those that ran last


class NetworkSwitch:
    """The engine that runs, and the one that will.

    `select` may be called from any thread; all else is for the restoring thread, or under its lock.

    Args:
        rig: the rig.
        network: name of the first one, which is made here.
        options: its own. Another network begins with its defaults, and finds its own options again when it is
            chosen once more. Only `random_weights` holds for all.
        device: "auto", "cpu", "cuda".
        residual: measure the re-blur residual of every exposure.
        lock: held while what is shared changes; notified when a network is ready.
        retry_s: the first pause before a network that gave way is tried again.

    Attributes:
        network: that runs.
        engine: of it.
        loading: name of the one that is being made, "" for none.
        message: one line, while something went wrong.
        lost: the error after which the GPU answers no more, None while it does; no network can run any more.

    Raises:
        UsageError: unknown network or option.
    """

    def __init__(
        self, rig: Rig, network: str, options: Mapping[str, Any], device: str, residual: bool,
        lock: threading.Condition, retry_s: float = RETRY_S,
    ) -> None:  # fmt: skip
        self._rig, self._device, self._residual, self._lock = rig, device, residual, lock
        self._options = NetworkOptions(network, options)
        self.network = self._wanted = network
        self.loading = self.message = ""
        self.lost: Exception | None = None
        self._failures = 0
        self._first_pause_s = self._pause_s = retry_s
        self._gave_way = ""  # is to be tried again
        self._again_at = 0.0
        self._runs_since = time.monotonic()
        self._at_rest: OrderedDict[str, Engine] = OrderedDict()
        self._ready: tuple[str, Engine] | None = None
        self.engine = self._make(network)

    @property
    def margins(self) -> tuple[int, int]:
        """Events that the running network wants before and after an exposure, µs."""
        needs = self.engine.restorer.needs
        return needs.margin_before_us, needs.margin_after_us

    def _make(self, network: str) -> Engine:
        models.require_events(network, self._rig.has_events)
        restorer = models.create(network, self._rig, self._options.of(network), self._device)
        engine = Engine(restorer, residual=self._residual)
        engine.prepare(self._rig.image.width, self._rig.image.height)
        return engine

    def _make_room_for(self, network: str) -> Engine:
        """As `_make`; where memory is short, once more without the networks at rest."""
        try:
            return self._make(network)
        except Exception as e:
            if not (out_of_memory(e) and self._drop_resting()):
                raise
        # Only here has the error, whose frames held on to what was made so far, gone.
        give_memory_back()
        return self._make(network)

    def _drop_resting(self) -> bool:
        """Keep no network but the one that runs (and one that is ready); whether there were any."""
        with self._lock:
            dropped = bool(self._at_rest)
            self._at_rest.clear()
        return dropped

    @property
    def wanted(self) -> str:
        """The network that will run once those are ready that were chosen; the one that runs, if none waits."""
        return self._wanted

    # -- another network -------------------------------------------------------------------------------------

    def set(self, options: Mapping[str, Any]) -> None:
        """Change options of the running network.

        Raises:
            UsageError: it does not know one of them.
        """
        self.engine.set(dict(options))
        self._options.change(self.network, options)

    def select(self, network: str) -> None:
        """Make another network ready, in the background; the last one that was chosen wins.

        Raises:
            UsageError: no such network, or it cannot run here (found out at once, before anything is loaded).
        """
        models.check(network, self._options.of(network), events=self._rig.has_events)
        with self._lock:  # `try_again` is another thread's
            self._gave_way, self._pause_s = "", self._first_pause_s
            self._load_aside(network)

    def _load_aside(self, network: str) -> None:
        self._wanted = network
        threading.Thread(target=self._load, args=(network,), name="load", daemon=True).start()

    def try_again(self) -> None:
        """Make the network that gave way ready once more, when it is time and nobody has chosen another.

        Called with the lock held.
        """
        if (
            self._gave_way
            and self._wanted == self.network == PASS_THROUGH
            and time.monotonic() >= self._again_at
        ):
            self._again_at = math.inf  # until it is known what becomes of this try
            self._load_aside(self._gave_way)

    def _postpone(self) -> None:
        self._again_at = time.monotonic() + self._pause_s
        self._pause_s = min(2 * self._pause_s, max(LONGEST_RETRY_S, self._first_pause_s))

    def _load(self, network: str) -> None:
        self.loading = network
        try:
            with self._lock:
                if network == self.network:
                    self._stay(network)
                    return
                rested = self._at_rest.pop(network, None)
            engine = rested or self._make_room_for(network)
        except Exception as e:  # whatever a network's loading raises must leave the old one running
            if not out_of_memory(e) and device_lost():
                self.lost = e  # what was wanted stays so, in another process
            elif self._wanted == network:
                self._wanted = self.network
                if network == self._gave_way:
                    self._postpone()
                    self.message = f"{network} was tried again: {line_of(e)}; {PASSES}"
                else:
                    goes_on = f"{self.network} goes on"
                    self.message = f"network {network} could not be loaded: {line_of(e)}; {goes_on}"
            return
        finally:
            if self.loading == network:
                self.loading = ""
        with self._lock:
            if self._wanted != network:
                # Another one was chosen while this one loaded, whichever of them is quicker.
                if rested is not None:
                    self._at_rest.setdefault(network, rested)
                return
            self.message = ""
            self._ready = (network, engine)
            self._lock.notify_all()

    def _stay(self, network: str) -> None:
        """The network that runs was chosen, perhaps before another one has taken over: it goes on as it is."""
        if self._wanted != network:
            return
        if self._ready is not None:
            self._at_rest[self._ready[0]] = self._ready[1]
            self._ready = None
        self.message = ""

    @property
    def ready(self) -> bool:
        """Another network waits to take over."""
        return self._ready is not None

    def take_over(self) -> None:
        """The one that is ready runs from now on. The other one must have nothing left to give (`gap`)."""
        if self._ready is None:
            return
        before = self.network, self.engine
        (self.network, self.engine), self._ready = self._ready, None
        self._failures, self._runs_since, self._gave_way = 0, time.monotonic(), ""
        if before[0] != self.network:
            self._at_rest[before[0]] = before[1]
        while len(self._at_rest) > AT_REST:
            self._at_rest.popitem(last=False)

    # -- failures --------------------------------------------------------------------------------------------

    def succeeded(self) -> None:
        """The running network has restored an exposure."""
        self._failures = 0

    def failed(self, error: Exception) -> bool:
        """The running network has failed on an exposure; True when it has to give way."""
        if not out_of_memory(error) and device_lost():
            self.lost = error
            return False
        if out_of_memory(error) and self._drop_resting():
            _release(error)
            return False  # it has their memory now, and is tried again
        self._failures += 1
        enough = out_of_memory(error) or self._failures >= FAILURES_BEFORE_FALLBACK
        return enough and self.network != PASS_THROUGH

    def give_way(self, error: Exception) -> None:
        """Frames pass through for now, and the message says why. Memory is given back."""
        how = "ran out of memory" if out_of_memory(error) else "failed"
        self.message = f"{self.network} {how} ({line_of(error)}); {PASSES}"
        if self._wanted == self.network:
            self._wanted, self._gave_way = PASS_THROUGH, self.network
            if time.monotonic() - self._runs_since > self._pause_s:  # it went well for long
                self._pause_s = self._first_pause_s
            self._postpone()
        self.network, self._failures = PASS_THROUGH, 0
        self._at_rest.clear()
        through = models.create(PASS_THROUGH, self._rig, None, "cpu")
        self.engine = Engine(through, residual=self._residual)
        _release(error)


def _release(error: Exception) -> None:
    """Give memory back, also what the error's frames hold on to."""
    error.__traceback__ = error.__context__ = error.__cause__ = None
    give_memory_back()
