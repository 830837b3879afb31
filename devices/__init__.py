"""Devices: sans-I/O codecs (bytes to messages and back) and the profiles that say what a model
measures.
"""
