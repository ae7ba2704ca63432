"""How fast the package is, as ratios of programs that take turns: `python -m benchmarks`.

`measuring` takes times, `programs` holds the training loops that are compared, every other module is one
part of the measurement. The notebook `benchmarks` shows the JSON files beside this one. Three modules are
separate programs, and the notebook `networks_tried` shows their results: `warps` times the warps of other
packages, `timm_networks` tries timm's networks behind L-STN, `timm_training` trains one by timm's own script.
"""
