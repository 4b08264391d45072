"""Options that several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Contrast = Annotated[
    str | None, typer.Option("--contrast", help="Event threshold: auto, rig, one value, or ON,OFF.")
]
ExposureUs = Annotated[
    int | None,
    typer.Option("--exposure-us", help="How long frames were exposed whose file does not say (microseconds)."),
]
Geometry = Annotated[
    str | None,
    typer.Option(
        "--geometry", metavar="WxH", help="Size of the event (or spike) sensor, if the file does not tell it."
    ),
]
RigFile = Annotated[
    Path | None,
    typer.Option(
        "--rig", metavar="RIG.toml",
        help="How event pixels lie on the pictures of two cameras: where the recording does not tell it, or a "
        "calibration that was made later.",
        show_default=False,
    ),
]  # fmt: skip
Dtype = Annotated[
    str | None,
    typer.Option(
        "--dtype",
        help="Number type of a network: auto (the fastest that costs next to nothing), float32 (the same "
        "pictures on every machine, but for the last bit), float16, bfloat16.",
    ),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda or cuda:N.")]
Compile = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Compile the network with torch.compile first (takes a minute or more); not for edi and none, "
        "which have no network.",
    ),
]
Residual = Annotated[
    bool,
    typer.Option("--residual", help="Re-blur residual: of every exposure, or as a map in the window."),
]
Publish = Annotated[
    str | None,
    typer.Option(
        "--publish", metavar="ADDRESS", show_default=False,
        help="Send every picture to programs that subscribe: a port of this machine (5556), tcp://HOST:PORT or "
        "ipc://PATH. Headless it runs until Ctrl+C and keeps files only with -o.",
    ),
]  # fmt: skip
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", show_default=False,
        help="An option of the network, e.g. tile=512 or grid=event; may be given several times.",
    ),
]  # fmt: skip
RandomWeights = Annotated[
    bool, typer.Option("--random-weights", help="No weights: for benchmarks only; the picture says so.")
]
