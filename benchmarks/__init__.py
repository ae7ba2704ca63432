"""How fast the package is, as ratios of programs that take turns: `python -m benchmarks`.

`measuring` measures times, `programs` has the training loops that are compared, and the modules of
`__main__.PARTS` are the parts of the measurement. The notebook `benchmarks` shows the JSON files in this folder. Other
modules are programs of their own: `warps` times the warps of other packages, `timm_networks` tries timm's networks
behind L-STN, `timm_training` trains a network by timm's own script, `digit_steps` times the digit CNN,
`convolutions` times our convolutions against torch's, and `growth` times the work on growing numbers of records.
"""
