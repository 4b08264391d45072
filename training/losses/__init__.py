"""What each published system is trained on: differentiable, in torch, a file a system.

Predictions and targets are (N, C, H, W) in 0…1 unless said otherwise; losses are scalars of the predictions'
type. Values are not looked at (that would wait for the device): a NaN in goes through to the loss, where a
trainer sees it.
"""
