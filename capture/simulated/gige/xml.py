"""The GenICam description of the simulated camera, written out of its table of features."""

from __future__ import annotations

from dataclasses import replace
from xml.sax.saxutils import escape

from capture.simulated.gige.features import CHUNKS, TABLE, Feature, Kind, count, placed

_HEAD = """<?xml version="1.0" encoding="utf-8"?>
<RegisterDescription ModelName="{model}" VendorName="FLIR" ToolTip="simulated camera" StandardNameSpace="GEV" \
SchemaMajorVersion="1" SchemaMinorVersion="1" SchemaSubMinorVersion="0" MajorVersion="1" MinorVersion="0" \
SubMinorVersion="0" ProductGuid="00000000-0000-0000-0000-000000000001" \
VersionGuid="00000000-0000-0000-0000-000000000002" xmlns="http://www.genicam.org/GenApi/Version_1_1">
"""


def description(model: str, formats: tuple[str, ...]) -> bytes:
    """The XML file that a client reads out of the camera, which has these pixel formats."""
    out = [_HEAD.format(model=escape(model.replace(" ", "_"), {'"': "&quot;"}))]
    categories = list(dict.fromkeys(f.category for f in TABLE))
    out.append(
        '<Category Name="Root">' + "".join(f"<pFeature>{c}</pFeature>" for c in categories) + "</Category>"
    )
    for c in categories:
        names = [f.name for f in TABLE if f.category == c]
        if c == "ChunkDataControl":
            names += [f"Chunk{n}" for n in CHUNKS]
        out.append(
            f'<Category Name="{c}">' + "".join(f"<pFeature>{n}</pFeature>" for n in names) + "</Category>"
        )
    for f, address in placed():
        if f.name == "PixelFormat":
            f = replace(f, entries=tuple(e for e in f.entries if e[0] in formats))
        out += _feature(f, address)
    for name, (number, kind) in CHUNKS.items():
        out.append(_chunk(f"Chunk{name}", f"{number:04X}", kind))
    out.append('<Port Name="Device"/></RegisterDescription>\n')
    return "\n".join(out).encode()


def _bounds(f: Feature) -> str:
    text = ""
    for tag, bound in (("Min", f.low), ("Max", f.high)):
        if isinstance(bound, str):
            text += f"<p{tag}>{bound}</p{tag}>"
        elif bound is not None:
            text += f"<{tag}>{bound if f.kind is Kind.FLOAT else int(bound)}</{tag}>"
    if f.kind is Kind.INTEGER and f.step != 1:
        text += f"<Inc>{f.step}</Inc>"
    return text + (f"<Unit>{f.unit}</Unit>" if f.unit else "")


def _feature(f: Feature, address: int) -> list[str]:
    mode = "RW" if f.writable else "RO"
    where = f"<Address>0x{address:X}</Address>"
    if f.kind is Kind.STRING:
        return [
            f'<StringReg Name="{f.name}">{where}<Length>{f.length}</Length><AccessMode>{mode}</AccessMode>'
            "<pPort>Device</pPort></StringReg>"
        ]
    register = f"{f.name}Register"
    if count(f) > 1:
        where += f'<pIndex Offset="8">{f.selector}</pIndex>'
    selected = "".join(f"<pSelected>{g.name}</pSelected>" for g in TABLE if g.selector == f.name)
    body = f"<pValue>{register}</pValue>{selected}"
    if f.kind is Kind.ENUMERATION:
        entries = "".join(f'<EnumEntry Name="{n}"><Value>{v}</Value></EnumEntry>' for n, v in f.entries)
        body = f"{entries}{body}"
    elif f.kind is Kind.BOOLEAN:
        body += "<OnValue>1</OnValue><OffValue>0</OffValue>"
    elif f.kind is Kind.COMMAND:
        body += "<CommandValue>1</CommandValue>"
    else:
        body += _bounds(f)
    tag = "FloatReg" if f.kind is Kind.FLOAT else "IntReg"
    sign = "" if f.kind is Kind.FLOAT else "<Sign>Unsigned</Sign>"
    # Some bounds and all read-only values change with other features: never to be taken from a client's cache.
    return [
        f'<{f.kind.value} Name="{f.name}">{body}</{f.kind.value}>',
        f'<{tag} Name="{register}">{where}<Length>{f.size}</Length><AccessMode>{mode}</AccessMode>'
        f"<pPort>Device</pPort><Cachable>NoCache</Cachable>{sign}<Endianess>BigEndian</Endianess></{tag}>",
    ]


def _chunk(name: str, number: str, kind: Kind) -> str:
    tag = "FloatReg" if kind is Kind.FLOAT else "IntReg"
    sign = "" if kind is Kind.FLOAT else "<Sign>Unsigned</Sign>"
    return (
        f'<{kind.value} Name="{name}"><pValue>{name}Register</pValue></{kind.value}>\n'
        f'<{tag} Name="{name}Register"><Address>0</Address><Length>8</Length><AccessMode>RO</AccessMode>'
        f"<pPort>{name}Port</pPort><Cachable>NoCache</Cachable>{sign}<Endianess>BigEndian</Endianess></{tag}>\n"
        f'<Port Name="{name}Port"><ChunkID>{number}</ChunkID></Port>'
    )
