"""Subletting and lending: one module for each family of evidence, and the detector that adds them
up.
"""
