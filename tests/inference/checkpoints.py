"""Checkpoints to read, honest and hostile. Each hostile one would leave a file behind if anything of it ran."""

from __future__ import annotations

import argparse
import collections
import io
import json
import os
import pathlib
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference import networks


class Runs:
    """Unpickled, it runs a command that leaves `mark` behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.mark}",)


class Calls:
    """Unpickled, it calls any function."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.how = (function, args)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.how  # type: ignore[return-value]


class Callback:
    """An object of a class that no reader knows, as training programs leave them in checkpoints."""

    def __init__(self) -> None:
        self.best = 1.0
        self.monitor = {"loss": [1.0, 2.0]}


def entries(network: str = "s-sdm-ldn") -> dict[str, torch.Tensor]:
    """A state dict with values that differ from entry to entry."""
    torch.manual_seed(7)
    return dict(networks.build(network).state_dict())


def zip_with(
    path: Path, structure: bytes, *data: tuple[str, bytes], compress: bool = False, **more: bytes
) -> Path:
    """A file in the shape of PyTorch's, with any structure and values."""
    how = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(path, "w", how) as archive:
        archive.writestr("archive/data.pkl", structure)
        archive.writestr("archive/version", "3\n")
        for key, raw in data:
            archive.writestr(f"archive/data/{key}", raw)
        for name, raw in more.items():
            archive.writestr(f"archive/{name}", raw)
    return path


def tensor_structure(
    numel: object,
    shape: object,
    stride: object,
    offset: object = 0,
    storage: str = "FloatStorage",
    key: str = "0",
) -> bytes:
    """The structure {"w": tensor} as PyTorch writes it, with any numbers in it."""

    def dump(value: object) -> bytes:
        # Without the protocol's head and the end.
        return pickle.dumps(value, protocol=2)[2:-1]

    pid = (
        b"(" + dump("storage") + f"ctorch\n{storage}\n".encode() + dump(key) + dump("cpu") + dump(numel) + b"tQ"
    )
    args = pid + dump(offset) + dump(shape) + dump(stride) + dump(False) + b"ccollections\nOrderedDict\n)R"
    return b"\x80\x02}" + dump("w") + b"ctorch._utils\n_rebuild_tensor_v2\n(" + args + b"tRs."


def legacy(path: Path, value: object) -> Path:
    """The form of PyTorch before 1.6."""
    torch.save(value, path, _use_new_zipfile_serialization=False)
    return path


def safetensors(path: Path, header: object, data: bytes = b"", length: int | None = None) -> Path:
    """A safetensors file with any header."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(raw) if length is None else length) + raw + data)
    return path


def _saved(value: object) -> bytes:
    out = io.BytesIO()
    torch.save(value, out)
    return out.getvalue()


def _in_tar(path: Path, mark: Path) -> None:
    with tarfile.open(path, "w") as tar:
        for name in ("storages", "tensors", "pickle"):
            raw = pickle.dumps(Runs(mark))
            info = tarfile.TarInfo(name)
            info.size = len(raw)
            tar.addfile(info, io.BytesIO(raw))


def _in_zip(path: Path, mark: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("model.pth", _saved({"w": Runs(mark)}))


def _overlapping(path: Path) -> None:
    """A zip whose members are all the same bytes (D. Fifield's bomb, uncompressed)."""
    zip_with(path, tensor_structure(250_000, (250_000,), (1,)), ("0", bytes(1_000_000)))
    raw = path.read_bytes()
    at = raw.index(b"PK\x01\x02")
    end = raw.index(b"PK\x05\x06")
    central, copies = raw[at:end], b""
    last = central[central.rindex(b"PK\x01\x02") :]
    for i in range(1, 60):
        copies += last.replace(b"archive/data/0", f"archive/data/{chr(64 + i)}".encode())
    count = struct.unpack_from("<H", raw, end + 10)[0] + 59
    size = len(central) + len(copies)
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count, count, size, at, 0)
    path.write_bytes(raw[:at] + central + copies + tail)


def _deep() -> bytes:
    return b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b"."


def _laughs() -> bytes:
    """Tuples of tuples: small in the file, endless for whoever walks or hashes them."""
    body = b"\x80\x02K\x01q\x00"
    for i in range(60):
        body += b"h" + bytes([i]) + b"h" + bytes([i]) + b"\x86q" + bytes([i + 1])
    return body + b"}" + b"h\x3c" + b"K\x01s."


Build = Callable[[Path, Path], Any]

# name -> (writes the file, given its path and the mark, words of the reason)
HOSTILE: dict[str, tuple[Build, str]] = {
    "os.system": (lambda p, m: torch.save({"params": {"w": Runs(m)}}, p), "names .*system"),
    "os.system, old form": (lambda p, m: legacy(p, {"w": Runs(m)}), "names .*system"),
    "os.system, plain pickle": (
        lambda p, m: p.write_bytes(pickle.dumps(Runs(m), protocol=4)),
        "names .*system"),
    "os.system, protocol 0": (lambda p, m: p.write_bytes(pickle.dumps(Runs(m), protocol=0)), "names .*system"),
    "os.system beside weights": (
        lambda p, m: torch.save({"state_dict": entries(), "hparams": [{"a": (Runs(m),)}]}, p),
        "names .*system"),
    "os.system, named and not called": (
        lambda p, m: torch.save({"state_dict": entries(), "hook": os.system}, p), "names .*system"),
    "subprocess.Popen, made and not called": (
        lambda p, m: p.write_bytes(b"\x80\x02csubprocess\nPopen\n)\x81."), "names subprocess.Popen"),
    "os.system inside a pickled tensor": (
        lambda p, m: p.write_bytes(
            pickle.dumps({"w": Calls(torch.storage._load_from_bytes, pickle.dumps(Runs(m)))})),
        "names .*system"),
    "a checkpoint in a pickled tensor in a pickled tensor": (
        lambda p, m: p.write_bytes(pickle.dumps(Calls(torch.storage._load_from_bytes, pickle.dumps(
            Calls(torch.storage._load_from_bytes, pickle.dumps(Runs(m))))))),
        "inside each other"),
    "in a zip": (_in_zip, "zip archive with model.pth"),
    "in a tar": (_in_tar, "tar archive"),
    "in a gzip": (lambda p, m: p.write_bytes(b"\x1f\x8b" + bytes(64)), "gzip"),
    "eval": (lambda p, m: torch.save({"w": Calls(eval, f"open({str(m)!r}, 'w')")}, p), "builtins.eval"),
    "importlib": (
        lambda p, m: p.write_bytes(b"cimportlib\nimport_module\n(S'antigravity'\ntR."),
        "importlib.import_module"),
    "getattr": (lambda p, m: torch.save({"w": Calls(getattr, "", "format")}, p), "builtins.getattr"),
    "torch.hub": (lambda p, m: torch.save({"w": Calls(torch.hub.load, "a/b", "c")}, p), "torch.hub.load"),
    "a function of a library": (lambda p, m: torch.save({"w": Calls(np.load, "x")}, p), "numpy.*load"),
    "instance step of Python 2": (lambda p, m: p.write_bytes(b"(S'id'\nios\nsystem\n."), "os.system"),
    "extension step": (lambda p, m: p.write_bytes(b"\x80\x02\x82\x01."), "EXT1"),
    "bytearray of 100 GB": (
        lambda p, m: zip_with(
            p, b"\x80\x02}X\x01\x00\x00\x00wcbuiltins\nbytearray\n\x8a\x05\x00\xe8\x76\x48\x17\x85Rs."),
        "bytearray"),
    "storage of 4 TB": (
        lambda p, m: zip_with(p, tensor_structure(10**12, (10**12,), (1,)), ("0", bytes(16))),
        "declares values of"),
    "storage that is not there": (
        lambda p, m: zip_with(p, tensor_structure(10**6, (10**6,), (1,)), ("0", bytes(16))),
        "declares values of"),
    "storage missing": (lambda p, m: zip_with(p, tensor_structure(4, (4,), (1,))), "holds none"),
    "tensor of 4 PB by strides of nought": (
        lambda p, m: zip_with(p, tensor_structure(1, (10**15,), (0,)), ("0", bytes(4))),
        "declares a tensor of"),
    "tensor outside its storage": (
        lambda p, m: zip_with(p, tensor_structure(4, (4,), (1,), offset=1), ("0", bytes(16))),
        "reaches to value 4"),
    "negative shape": (
        lambda p, m: zip_with(p, tensor_structure(4, (-4,), (1,)), ("0", bytes(16))), "whole numbers"),
    "old form, storage of 4 TB": (
        lambda p, m: p.write_bytes(legacy(p, {"w": torch.zeros(4)}).read_bytes().replace(
            b"cpuq\x06K\x04", b"cpuq\x06\x8a\x06\x00\x00\x00\x00\x00\x01")),
        "declares values of|damaged"),
    "text of 4 GB": (lambda p, m: p.write_bytes(b"\x80\x02X\xff\xff\xff\xffabc."), "declares a value of"),
    "bytes of 8 EB": (
        lambda p, m: p.write_bytes(b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc."), "declares a value of"),
    "zip bomb": (
        lambda p, m: zip_with(
            p, tensor_structure(10**7, (10**7,), (1,)), ("0", bytes(4 * 10**7)), compress=True),
        "unpacks to 40.0 MB"),
    "zip bomb of overlapping members": (lambda p, m: _overlapping(p), "more bytes than the file|damaged"),
    "the same name twice": (
        lambda p, m: zip_with(p, tensor_structure(1, (1,), (1,)), ("0", bytes(4)), ("0", bytes(4))), "twice"),
    "TorchScript": (
        lambda p, m: torch.jit.save(torch.jit.trace(torch.nn.Conv2d(1, 1, 1), torch.zeros(1, 1, 2, 2)), str(p)),
        "TorchScript"),
    "a whole pickled model": (
        lambda p, m: torch.save(torch.nn.Linear(2, 2), p),
        "whole pickled model .*Linear"),
    "lists 100 000 deep": (lambda p, m: zip_with(p, _deep()), "no tensors by name"),
    "tuples that double 60 times, as a key": (lambda p, m: zip_with(p, _laughs()), "tuple as the key"),
    "no end": (lambda p, m: zip_with(p, b"\x80\x02}"), "cut off|damaged"),
    "takes from an empty stack": (lambda p, m: zip_with(p, b"\x80\x02R."), "damaged"),
    "an empty file": (lambda p, m: p.write_bytes(b""), "empty"),
    "a web page": (lambda p, m: p.write_bytes(b"<!DOCTYPE html><html></html>"), "web page"),
    "noise": (lambda p, m: p.write_bytes(np.random.default_rng(1).bytes(4096)), "no checkpoint"),
    "only numbers": (lambda p, m: torch.save({"epoch": 3}, p), "no tensors by name, but entries named epoch"),
    "a tensor alone": (lambda p, m: torch.save(torch.zeros(3), p), "no tensors by name"),
    "safetensors, header of 1 EB": (
        lambda p, m: safetensors(p.with_suffix(".safetensors"), {}, length=1 << 60), "declares a header"),
    "safetensors, tensor of 4 TB": (
        lambda p, m: safetensors(p.with_suffix(".safetensors"), {
            "w": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}}), "not there"),
    "safetensors, shape that does not fit": (
        lambda p, m: safetensors(p.with_suffix(".safetensors"), {
            "w": {"dtype": "F32", "shape": [5], "data_offsets": [0, 16]}}, bytes(16)), "not there"),
    "safetensors, no JSON": (lambda p, m: safetensors(p.with_suffix(".safetensors"), b"{]"), "not JSON"),
    "safetensors, JSON without end": (
        lambda p, m: safetensors(p.with_suffix(".safetensors"), b'{"a":' * 50_000), "not JSON"),
    "safetensors, empty": (lambda p, m: safetensors(p.with_suffix(".safetensors"), {}), "no tensors"),
}  # fmt: skip


def _lightning(path: Path) -> None:
    own = entries()
    state = {f"model.{k}": v for k, v in own.items()} | {f"teacher_model.{k}": v + 1 for k, v in own.items()}
    torch.save(
        {
            "epoch": 29, "pytorch-lightning_version": "1.6.0", "state_dict": state, "loops": {"a": {}},
            "hyper_parameters": {
                "callbacks": [Callback()], "save_path": pathlib.PurePosixPath("/data"),
                "args": argparse.Namespace(lr=1e-3), "loss": np.float64(0.1),
            },
            "optimizer_states": [{"state": collections.defaultdict(dict), "param_groups": [{"lr": 1.0}]}],
        },
        path,
    )  # fmt: skip


# name -> writes the entries of `entries()` in some wrapping
HONEST: dict[str, Callable[[Path], Any]] = {
    "flat": lambda p: torch.save(entries(), p),
    "ordered, with metadata": lambda p: torch.save(networks.build("s-sdm-ldn").state_dict(), p),
    "params": lambda p: torch.save({"params": entries()}, p),
    "params beside an average": lambda p: torch.save(
        {"params_ema": {k: v + 1 for k, v in entries().items()}, "params": entries()}, p),
    "state_dict": lambda p: torch.save({"epoch": 3, "loss": torch.tensor(1.0), "state_dict": entries()}, p),
    "module.": lambda p: torch.save({f"module.{k}": v for k, v in entries().items()}, p),
    "module. in params": lambda p: torch.save({"params": {f"module.{k}": v for k, v in entries().items()}}, p),
    "compiled": lambda p: torch.save({f"_orig_mod.module.{k}": v for k, v in entries().items()}, p),
    "model, with optimiser": lambda p: torch.save(
        {"model": entries(), "scheduler": {"milestones": collections.Counter([5, 5])}, "epoch": 1}, p),
    "under a name of its own": lambda p: torch.save({"my_net": entries(), "epoch": 3}, p),
    "parameters": lambda p: torch.save({k: torch.nn.Parameter(v) for k, v in entries().items()}, p),
    "old form": lambda p: legacy(p, {"params": entries()}),
    "Lightning with objects": _lightning,
    "plain pickle of tensors": lambda p: p.write_bytes(pickle.dumps(entries())),
    "plain pickle of arrays": lambda p: p.write_bytes(
        pickle.dumps({"epoch": 2, "params": {k: v.numpy() for k, v in entries().items()}})),
    "arrays, protocol 2": lambda p: p.write_bytes(
        pickle.dumps({k: np.asfortranarray(v.numpy()) for k, v in entries().items()}, protocol=2)),
    "a NumPy number beside": lambda p: torch.save({"state_dict": entries(), "best": np.float64(3.5)}, p),
    "views of one storage": lambda p: torch.save(
        {k: torch.stack([v, v + 1]).movedim(0, -1)[..., 0] for k, v in entries().items()}, p),
    "old form, beside a foreign object": lambda p: legacy(p, {"params": entries(), "callback": Callback()}),
}  # fmt: skip
