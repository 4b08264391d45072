"""S-SDM's spikes: simulation, noise, files, averages, gray and the physical model, number for number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inference.representations import spikes, spikes_numba, spikes_torch
from inference.representations.spikes import Origin, SpikeStream
from tests.parity.cases import Case, cases, reads
from tests.parity.representation_files import arrays
from training.tasks.s_sdm_teacher import Teacher

# One folder holds several manifests of this system and one file of representations.
FOLDERS = {case.path.parent: case for case in cases("s-sdm")}
S_SDM = pytest.mark.parametrize("case", FOLDERS.values(), ids=lambda case: case.path.parent.name)
BACKEND = pytest.mark.parametrize("backend", ["numba", "torch"])
TOLERANCE = 1e-6  # for averages, gray and the physical model


@reads("s-sdm", "representation*", "sim_frames", "sim_init", "sim_spikes")
@BACKEND
@S_SDM
def test_simulated_spikes_are_exact(case: Case, backend: str) -> None:
    a = arrays(case)
    light, phase = a["sim_frames"], a["sim_init"]
    if backend == "numba":
        made = spikes_numba.IntegrateAndFire(phase)(light).frames
        fire = spikes_numba.IntegrateAndFire(phase)
        cut = len(light) // 3
        pieces = [fire(light[:cut]).frames, fire(light[cut:]).frames]
        np.testing.assert_array_equal(np.concatenate(pieces), made)
    else:
        made = spikes_torch.integrate_and_fire(torch.from_numpy(light), torch.from_numpy(phase)).numpy()
    np.testing.assert_array_equal(made, a["sim_spikes"])


@reads("s-sdm", "representation*", "sim_*", "noise_*", "noisy_spikes", "dat_bytes")
@S_SDM
def test_the_simple_simulator_noise_and_files_are_exact(case: Case) -> None:
    a = arrays(case)
    np.testing.assert_array_equal(
        spikes_numba.simple_spikes(a["sim_frames"], a["sim_init"]).frames, a["sim_alt_spikes"]
    )
    noisy = spikes.with_noise(a["sim_spikes"], a["noise_gaps"])
    np.testing.assert_array_equal(noisy, a["noisy_spikes"])
    np.testing.assert_array_equal(np.moveaxis(noisy, 0, 2).shape, a["noise_shape"])
    mask = np.zeros(noisy.size, np.uint8)
    mask[spikes.noise_positions(a["noise_gaps"], noisy.size)] = 1
    np.testing.assert_array_equal(np.packbits(mask), a["noise_mask"])
    data = a["dat_bytes"].tobytes()
    assert spikes.to_dat(noisy) == data
    np.testing.assert_array_equal(spikes.read_dat(data, *noisy.shape[1:]), noisy)
    np.testing.assert_array_equal(spikes.read_dat(data + b"\x01", *noisy.shape[1:], partial=True), noisy)


@reads("s-sdm", "case-ldn-published*", "dat", "spike", "spike_shape")
@S_SDM
def test_files_of_the_published_case_read_back(case: Case) -> None:
    found = 0
    for a in case.arrays("case*.npz"):
        if "dat" in a:
            n, height, width = a["spike_shape"]
            volume = np.unpackbits(a["spike"])[: n * height * width].reshape(n, height, width)
            np.testing.assert_array_equal(spikes.read_dat(a["dat"].tobytes(), height, width), volume)
            found += 1
    if not found:
        pytest.skip(f"{case.path.parent.name}: no case with a spike file")


@reads("s-sdm", "representation*", "gray_*", "blur_*")
@S_SDM
def test_gray_and_blur_match(case: Case) -> None:
    a = arrays(case)
    bgr = a["gray_bgr"]
    real = spikes.gray(spikes.quarter(bgr.astype(np.float32) / 255))
    np.testing.assert_allclose(real, a["gray_float_path"], rtol=0, atol=TOLERANCE)
    rounded = spikes.gray(spikes.quarter(bgr).astype(np.float32) / 255)
    np.testing.assert_allclose(rounded, a["gray_8bit_path"], rtol=0, atol=TOLERANCE)
    np.testing.assert_array_equal(spikes.blur(a["blur_stack"]), a["blur_mean"])


def tfp(frames: NDArray[np.uint8], at: int, length: int, backend: str) -> NDArray[np.float32]:
    stream = SpikeStream(frames, Origin.SIMULATED)
    if backend == "numba":
        return spikes_numba.tfp(stream, at, length)
    return np.asarray(spikes_torch.tfp(spikes_torch.upload(stream).frames, at, length)[0, 0].numpy())


@reads("s-sdm", "representation*", "tfp_*")
@BACKEND
@S_SDM
def test_averages_match(case: Case, backend: str) -> None:
    a = arrays(case)
    names = [n for n in a if n.startswith("tfp_") and n != "tfp_spikes"]
    assert names
    for name in names:
        at, length = (int(v) for v in name.split("_")[1:])
        made = tfp(a["tfp_spikes"], at, length, backend)
        np.testing.assert_allclose(made, a[name], rtol=0, atol=TOLERANCE, err_msg=name)


@reads("s-sdm", "representation*", "sdm_*", "tfp_spikes")
@S_SDM
def test_the_physical_model_matches(case: Case) -> None:
    a = arrays(case)
    blurry = torch.from_numpy(a["sdm_blur"])[None]
    volume = spikes_torch.upload(SpikeStream(a["tfp_spikes"], Origin.SIMULATED)).frames
    names = [n for n in a if n.startswith(("sdm_general_", "sdm_basic_"))]
    assert names
    for name in names:
        at = int(name.rsplit("_", 1)[1])
        if name.startswith("sdm_general_"):
            made = spikes_torch.sdm(blurry, spikes_torch.tfp(volume, 68, 97), spikes_torch.tfp(volume, at, 9))
        else:
            made = spikes_torch.sdm_from_spikes(blurry, volume, at)
        np.testing.assert_allclose(made[0].numpy(), a[name], rtol=0, atol=TOLERANCE, err_msg=name)


@reads("s-sdm", "case-ldn-published*", "teacher_standin_*", "blur_bgr", "spike", "spike_shape")
@S_SDM
def test_the_teachers_wiring_matches(case: Case) -> None:
    """The teacher without its networks: denoising left out, nearest neighbour in place of super-resolution."""
    found = 0
    for a in case.arrays("case*.npz"):
        if "teacher_standin_68" not in a:
            continue
        n, height, width = a["spike_shape"]
        volume = np.unpackbits(a["spike"])[: n * height * width].reshape(n, height, width)
        frames = spikes_torch.upload(SpikeStream(volume, Origin.SIMULATED)).frames
        blurry = torch.from_numpy(a["blur_bgr"].transpose(2, 0, 1).astype(np.float32) / 255)[None]
        made = Teacher()(blurry, frames, (68,))[0][0].numpy()
        want = a["teacher_standin_68"]
        rows, columns = want.shape[1:]
        np.testing.assert_allclose(made[:, :rows, :columns], want, rtol=0, atol=TOLERANCE)
        found += 1
    if not found:
        pytest.skip(f"{case.path.parent.name}: no case with a stand-in for the teacher")
