"""A hard city: a year of public housing with its truth, written without any detector in mind.

`people` is how people live and pass doors. `stories` holds homes, `everyday` and `violations` what
happens to them. `city` is who lives where, with which devices. `meters` is what the devices record,
`traffic` the register's files and the messages.
"""
