"""An option: evaluate and save the moving average of the weights, decay 0.9999.

The paper found that it helps and reports no number with it (A.1; B5, B9).
"""

custom_hooks = [dict(type='EMAHook', momentum=1e-4, priority='ABOVE_NORMAL')]
