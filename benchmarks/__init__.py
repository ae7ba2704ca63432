"""How fast the package is, as ratios of programs that take turns: `python -m benchmarks`.

`measuring` takes times, `programs` holds the training loops that are compared, every other module is one
part of the measurement. The notebook `benchmarks` shows the JSON files beside this one.
"""
