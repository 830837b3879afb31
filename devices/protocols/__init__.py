"""Wire protocols, sans-I/O: one module each, bytes to messages and back.

A codec is a `Codec` value: `decode` reads exactly one frame and never raises, `encode` makes the
same bytes again, and `next_frame` finds frames in a stream. Whatever a device sends is data: what
does not fit is a `Rejected` with its reason.
"""
