"""``snnq doctor``: is this machine ready?"""

from __future__ import annotations

from snnq.commands.words import Json


def doctor(json: Json = False) -> None:
    """Show versions, devices and folders, and run one small model forwards and backwards."""
    from snnq import console
    from snnq.assessing.doctor import advice, diagnose

    found = diagnose()
    if json:
        console.emit_json(found)
    else:
        console.table("This machine", ("what", "found"), list(found.items()))
        for sentence in advice(found):
            console.note(sentence)
        console.next_step("snnq demo")
