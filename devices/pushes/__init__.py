"""What devices and platforms push over HTTP (or MQTT): one module per maker or standard, bodies to
`ReceivedMessage` and back.

`PUSHES` is the table: adding a maker is adding one module, one golden folder and one line here.
Names of people, ID numbers, passwords and pictures are dropped by every parser; cards and plates
become tokens before they leave it.
"""

from devices.pushes import (
    access,
    chirpstack,
    ctwing,
    dahua,
    edge,
    gat1400,
    gb28181,
    hikvision,
    plates,
)
from devices.pushes.body import PushFormat

PUSHES: dict[str, PushFormat] = {
    push.name: push
    for push in (
        hikvision.PUSH,
        dahua.PUSH,
        plates.PUSH,
        ctwing.PUSH,
        chirpstack.PUSH,
        edge.PUSH,
        access.PUSH,
        gat1400.PUSH,
        gb28181.PUSH,
    )
}
