"""How good are the detectors? A hard city with truth is judged, and what is said of it is compared with what is true.

`chain` judges a city in memory by the same facts and detectors as the nights do, `score` compares, `baselines` are what is to
be beaten; `anju evaluate` prints it all. The only place where simulators and detectors are in one room.
"""
