"""The parts of a configuration: what is asked for is planned, and only what changed has another
key.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.parts import PartServices, plan_parts
from tests.gateway.conftest import Bench

BUS = """
[[bus]]
name = "{name}"
at = "10.0.0.5:4001"
devices = [{{ device = "{device}", profile = "dlt645-2007", address = "{address}" }}]
"""


def keys(bench: Bench) -> set[str]:
    services = PartServices(
        outbox_writer=bench.outbox_writer,
        intake=bench.intake,
        clock=bench.clock,
        unknown_devices=bench.unknown_devices,
        certificate_renewed=lambda: None,
    )
    return set(plan_parts(bench.config, services, None))


def test_a_change_of_one_part_leaves_the_others(bench: Callable[[str], Bench]) -> None:
    riser = BUS.format(name="riser-1", device="m-1", address="1")
    before = keys(bench(riser + BUS.format(name="riser-2", device="m-2", address="2")))
    after = keys(bench(riser + BUS.format(name="riser-2", device="m-2", address="3")))
    assert sorted(key.partition(" ")[0] for key in before) == ["bus:riser-1", "bus:riser-2"]
    assert {key.partition(" ")[0] for key in before - after} == {"bus:riser-2"}
    assert keys(bench(riser)) == before & after


def test_the_zone_changes_every_part(bench: Callable[[str], Bench]) -> None:
    riser = BUS.format(name="riser-1", device="m-1", address="1")
    port = "[[fire]]\nport = 7001\n"
    shanghai = keys(bench(riser + port))
    assert len(shanghai) == 2
    assert not shanghai & keys(bench('timezone = "Asia/Urumqi"\n' + riser + port))
