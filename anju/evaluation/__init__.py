"""How good are the detectors? A hard city whose truth is known is judged, and the two are compared.

`frames` makes the facts of a simulated city in memory, `judging` judges them as the nights do,
`score` compares findings with the truth, `baselines` are simple rules to be beaten, and `report`
puts the figures of several cities together. Nowhere else do simulators and detectors meet.
"""
