"""Published data sets with the sharp truth beside, for recipes and evaluation protocols.

| format | files | truth | events |
| --- | --- | --- | --- |
| `efnet-h5` | one HDF5 a sequence (GoPro raw, REBlur) | `sharp_images` | yes, one stream |
| `efnet-scer` | one HDF5 a sequence | `sharp_images` | SCER and mask, stored |
| `highrev` | folders `blur`, `sharp`, `event` or `voxel` | yes | of each exposure alone |
| `msrbd` | `.npz`, two frames each | `sharp_imgs`, any number | yes, one stream |
| `frames` | folders `blur/VIDEO` and `gt/VIDEO`, or `VIDEO/blur` and `VIDEO/sharp` | yes | none |
| `spikes` | folders `spike_data/VIDEO`, `blur_data/VIDEO`, `sharp_data/VIDEO` | some | none: spikes |

`find` looks through a folder, `facts` says what a sequence is, the other modules read one format each. Files
are opened where their values are used, in the loader's worker processes; a first look at HDF5 files happens
in a process of its own, since that library may crash on a damaged one.
"""
