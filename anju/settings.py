"""Settings from the environment, all beginning with ANJU_.

A bad one stops the start with one line that names it.

Secrets come from files (`…_FILE`), never from defaults. What a service needs is checked when it
starts, not when it is first used.
"""

from __future__ import annotations

import os
from difflib import get_close_matches
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from domain.broker import BrokerAddress
from domain.errors import UserError
from store.database.connection import dsn_fault, with_password
from store.database.migration import Level

PREFIX = "ANJU_"
#: Variables that begin with the prefix and are read elsewhere (tests, deployment files).
FOREIGN = frozenset(
    {
        "ANJU_PG_BIN",
        "ANJU_HOME",
        "ANJU_TEST_TIMESCALE_DSN",
        "ANJU_TEST_TIMESCALE_BIN",
        "ANJU_TEST_DATA",
        "ANJU_IMAGE_TAG",
        "ANJU_PUBLIC_PORT",
        "ANJU_MQTTS_PORT",
        "ANJU_GATEWAY_PORT",
        "ANJU_SIM_UNITS",
        "ANJU_SIM_GATEWAYS",
        "ANJU_TEST_SHOTS",
        "ANJU_TEST_SEEDS",
        "ANJU_TEST_FAULT_RUNS",
    }
)


class BadSettings(UserError):
    """A setting is wrong; the message is one line that names it, its value and the fix."""


class Settings(BaseSettings):
    """Every setting of every service, with its default."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="ignore")

    dsn: str = Field(
        "postgresql://127.0.0.1:5432/anju", description="PostgreSQL, as a URL without a password"
    )
    db_password_file: Path | None = Field(
        None, description="file that holds the database's password"
    )
    api_db_password_file: Path | None = Field(
        None,
        description="file with the password of anju_api, the API's own log-in at the database",
    )
    level: Literal["auto", "plain", "timescale"] = Field(
        "auto", description="capability level of a new database"
    )
    redis_url: str | None = Field(None, description="Redis; empty runs without it")
    broker_host: str = Field("127.0.0.1", description="MQTT broker")
    broker_port: int = Field(1883, ge=1, le=65535, description="its port")
    broker_protocol: int = Field(5, description="5, or 311 for a broker without MQTT 5")
    broker_username: str | None = Field(None, description="log-in at the broker")
    broker_password_file: Path | None = Field(None, description="file that holds its password")
    broker_ca_file: Path | None = Field(
        None, description="authority of the broker's certificate; turns TLS on"
    )
    ingest_name: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]{2,40}$",
        description="name of this ingest worker; its host and process by default",
    )
    ingest_group: str = Field(
        "anju",
        pattern=r"^[a-z0-9-]{2,40}$",
        description="names the sessions at the broker; the same for all workers",
    )
    ingest_readings: int = Field(
        1,
        ge=1,
        le=64,
        description="sessions that share the readings, the same for all workers; more need MQTT 5",
    )
    ingest_reader: Literal["auto", "stock"] = Field(
        "auto", description="stock reads with paho as it is, slower"
    )
    api_host: str = Field("127.0.0.1", description="address on which the API listens")
    api_port: int = Field(8080, ge=1, le=65535, description="its port")
    api_cert_file: Path | None = Field(
        None, description="certificate for HTTPS on that port; a proxy's business if empty"
    )
    api_key_file: Path | None = Field(None, description="its key")
    cookie_secure: bool = Field(False, description="send the session cookie over HTTPS only")
    policy_file: Path | None = Field(
        None, description="a site's own policy in place of the one that ships"
    )
    keys_file: Path | None = Field(
        None, description="the site's keys for people's data and second factors"
    )
    people_policy_file: Path | None = Field(
        None, description="a site's own policy on people's data"
    )
    clips_file: Path | None = Field(
        None, description="where each estate's gateway gives clips, and the key that it knows"
    )
    oidc_issuer: str | None = Field(
        None, description="the bureau's own directory of people (OpenID Connect); empty for none"
    )
    oidc_client_id: str | None = Field(None, description="what that directory calls us")
    oidc_client_secret_file: Path | None = Field(
        None, description="file that holds the secret we share with it"
    )
    oidc_redirect: str | None = Field(
        None, description="our address that it sends people back to, ending in /oidc/callback"
    )
    oidc_claim: str = Field("sub", description="the claim by which a person is known here")
    notices_file: Path | None = Field(
        None, description="a site's channels and rules: who is told of what"
    )
    authority_dir: Path | None = Field(
        None, description="folder with ca.crt and ca.key, which sign gateways' certificates"
    )
    crl_file: Path | None = Field(
        None, description="where the list of revoked certificates is written for the broker"
    )
    profiles_dir: Path | None = Field(None, description="folder with a site's own device profiles")
    facts_every_s: float = Field(
        60.0, gt=0, le=86_400, description="seconds between two passes over what is dirty"
    )
    keep_readings_days: int = Field(
        0, ge=0, le=36_500, description="days after which readings are dropped; 0 keeps them"
    )
    keep_events_days: int = Field(
        0, ge=0, le=36_500, description="days after which events are dropped; 0 keeps them"
    )
    metrics_port: int = Field(0, ge=0, le=65535, description="port for Prometheus; 0 serves none")
    metrics_host: str = Field("127.0.0.1", description="address of the metrics port")
    log_json: bool = Field(False, description="log as JSON lines")

    @field_validator("dsn")
    @classmethod
    def _is_dsn(cls, text: str) -> str:
        if dsn_fault(text) is not None:
            raise ValueError("must be like postgresql://user@host:5432/anju")
        return text

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, text: str | None) -> str | None:
        if text and not text.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("must be like redis://host:6379/0")
        return text or None

    @field_validator("broker_protocol")
    @classmethod
    def _is_protocol(cls, number: int) -> int:
        if number not in (5, 311):
            raise ValueError("must be 5 or 311")
        return number

    @field_validator(
        "db_password_file",
        "api_db_password_file",
        "broker_password_file",
        "broker_ca_file",
        "policy_file",
        "notices_file",
        "keys_file",
        "people_policy_file",
        "clips_file",
        "oidc_client_secret_file",
        "api_cert_file",
        "api_key_file",
    )
    @classmethod
    def _is_file(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError("must name a file that exists")
        return path

    @field_validator("authority_dir", "profiles_dir")
    @classmethod
    def _is_folder(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_dir():
            raise ValueError("must name a folder that exists")
        return path

    def conninfo(self) -> str:
        """Return the database's connection string with its password."""
        if self.db_password_file is None:
            return self.dsn
        return with_password(self.dsn, self.db_password_file.read_text("utf-8").strip())

    def api_db_password(self) -> str | None:
        """Return the password of the API's own log-in at the database.

        None where the server asks for none.
        """
        return _read_secret(self.api_db_password_file)

    def oidc_client_secret(self) -> str | None:
        """Return the secret that we share with the bureau's directory."""
        return _read_secret(self.oidc_client_secret_file)

    def broker(self) -> BrokerAddress:
        """Return the broker's address with its password."""
        return BrokerAddress(
            host=self.broker_host,
            port=self.broker_port,
            protocol=self.broker_protocol,
            username=self.broker_username,
            password=_read_secret(self.broker_password_file),
            ca_file=str(self.broker_ca_file) if self.broker_ca_file else None,
        )

    def forced_level(self) -> Level | None:
        """Return the level to force on a new database; None finds the best."""
        return None if self.level == "auto" else Level(self.level)


def _read_secret(path: Path | None) -> str | None:
    return path.read_text("utf-8").strip() if path else None


def load_settings() -> Settings:
    """Read the environment.

    Raises: BadSettings.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields} | FOREIGN
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            near = get_close_matches(name, sorted(known), 1)
            raise BadSettings(
                f"{name}: unknown setting; "
                f"{'did you mean ' + near[0] + '?' if near else 'remove it'}"
            )
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = PREFIX + str(first["loc"][0]).upper()
        message = str(first["msg"]).removeprefix("Value error, ")
        raise BadSettings(
            f"{name}={first['input']!r}: {message} "
            f"({Settings.model_fields[str(first['loc'][0])].description})"
        ) from None
