"""Serves clips to reviewers over the estate's network, by links that the server signed."""

from __future__ import annotations

import time
from pathlib import Path

import structlog
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import Route

from domain.clips import CLIP, ENDINGS, signed
from gateway.config import Config
from gateway.pushes import QuietServer

log = structlog.get_logger()


class ClipServer:
    """The server. `run` serves until cancelled."""

    def __init__(self, config: Config) -> None:
        vision = config.table.vision
        self._estate = config.table.estate
        self._folder = config.folder / vision.folder
        self._key = (config.secret(vision.link_key_file) or "").encode()
        self._host = vision.host
        self._port = vision.port or 0
        self._devices = {camera.device for camera in config.table.camera}
        self.fault: str | None = None
        self.app = Starlette(
            routes=[Route("/clips/{device}/{name}.{ending}", self._give, methods=["GET"])]
        )

    async def run(self) -> None:
        """Serve until cancelled."""
        server = QuietServer(
            uvicorn.Config(
                self.app,
                host=self._host,
                port=self._port,
                log_level="error",
                access_log=False,
                limit_concurrency=32,
                timeout_graceful_shutdown=2,
                lifespan="off",
            )
        )
        try:
            await server.serve()
        except SystemExit:
            self.fault = f"port {self._port} of {self._host} cannot be listened on"
            log.error("clips_port", fault=self.fault)
        finally:
            server.should_exit = True

    def _give(self, request: Request) -> Response:
        device, name, ending = (
            str(request.path_params[part]) for part in ("device", "name", "ending")
        )
        query = request.query_params
        path = f"{self._estate}/{device}/{name}.{ending}"
        if not signed(self._key, path, query.get("until", ""), query.get("sig", ""), time.time()):
            return PlainTextResponse(
                "this link is not the server's, or its few minutes are over: ask for a new one\n",
                403,
            )
        if device not in self._devices or not CLIP.fullmatch(name) or ending not in ENDINGS:
            return PlainTextResponse("no such clip\n", 404)
        file: Path = self._folder / device / f"{name}.{ending}"
        if not file.is_file():
            return PlainTextResponse(
                "the clip is no more: clips are kept for some days only\n", 410
            )
        return FileResponse(
            file,
            media_type=ENDINGS[ending],
            headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        )
