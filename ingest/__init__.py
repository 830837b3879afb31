"""Ingest: MQTT in, validate, place, de-duplicate, write, quarantine, acknowledge after the commit.

Read it top down: `worker` holds leases and runs a `leased_lane` for each. A `lane` receives into a
`receive_buffer` and writes batches (`retry`, `write`). A batch is placed (`place`: `columns` is the
fast way, `careful` the other) and stored (`store_batch`). Then it is acknowledged (`acknowledge`).
"""
