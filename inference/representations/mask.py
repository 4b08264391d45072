"""EFNet's event mask: where the gated connection between the stages lets image or event features pass.

L. Sun et al., "Event-Based Fusion for Motion Deblurring with Cross-modal Attention", ECCV 2022 (EMGC).

A pixel is set when any channel of the representation is not zero; then one morphological closing with a 3×3
square (dilation, then erosion; pixels outside the image count in neither). Stored as 0 and 255 in (1, H, W).
Scaling the representation does not change it, so it may be taken before or after normalisation.

There is one reading only; two things are worth knowing. Opposite events that cancel in every channel leave no
trace (SCER holds net sums). And the masks that EFNet saw in training were far denser than true support: the
stored GoPro representations hold random noise that sets some 72 % of the pixels after closing.

numba finds the support and OpenCV closes it in `mask_numba`; `mask_torch` does both on any device.
"""
