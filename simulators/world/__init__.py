"""A hard city: what really happens in public housing over a year, with the truth, written from the
world and not from any detector.

`people` is how people live and pass doors, `stories` what befalls homes, `city` who lives where and
with which devices, `meters` what the devices make of it, `traffic` the register's files and the
messages.
"""
