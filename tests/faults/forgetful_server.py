"""`cloche serve` with the gateway that answers before it writes: `forgetful_server.py --home HOME serve …`."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from cloche.home import Home
from cloche.processes.supervisor import Supervisor
from cloche.settings import Server, Settings


class ForgetfulSupervisor(Supervisor):
    """Starts another gateway than it should."""

    def _start(self, module, boot):
        return super()._start(module.replace("cloche.processes.gateway", "forgetful_gateway"), boot)


async def main(home):
    supervisor = ForgetfulSupervisor(Home(home), Settings(server=Server(port=0, control_port=0)))
    supervisor.open()
    await supervisor.run(asyncio.Event())


if __name__ == "__main__":
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    asyncio.run(main(Path(sys.argv[2])))
