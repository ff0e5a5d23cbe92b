"""A Celery app from the environment, by names that are known from other bridges to Celery."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass

from celery import Celery

from wopr.domain.errors import InvalidScheduleSpecificationError, InvalidSettingError
from wopr.domain.localtime import zone

PREFIX = "WOPR_CELERY__"
SERIALIZERS = ("json", "pickle", "yaml", "msgpack")
_ON = {"1": True, "true": True, "yes": True, "on": True}
_OFF = {"0": False, "false": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class CeleryConfig:
    """What a Celery app is made of.

    The serializers are those of the app's other messages; wopr's own are JSON.

    Attributes:
        broker_url: where messages go.
        result_backend: where results are; a :class:`CeleryExecutor` needs one.
        app_name: of the app.
        task_serializer: ``json``, ``pickle``, ``yaml`` or ``msgpack``.
        result_serializer: the same.
        accept_content: what workers and readers of results take.
        timezone: of ``celery beat``.
        enable_utc: whether messages have their times in UTC.

    Raises:
        InvalidSettingError: a value can't be what it has to be.
    """

    broker_url: str
    result_backend: str | None = None
    app_name: str = "wopr"
    task_serializer: str = "json"
    result_serializer: str = "json"
    accept_content: tuple[str, ...] = ("json",)
    timezone: str = "UTC"
    enable_utc: bool = True

    def __post_init__(self) -> None:
        """Refuse what Celery would trip over only when it is used."""
        if not self.broker_url:
            raise InvalidSettingError(
                f"{PREFIX}BROKER_URL is not set: Celery needs a broker, like "
                "redis://localhost:6379/0 or amqp://guest:guest@localhost//."
            )
        for name in ("task_serializer", "result_serializer"):
            if getattr(self, name) not in SERIALIZERS:
                raise InvalidSettingError(
                    f"{PREFIX}{name.upper()} is {getattr(self, name)!r}; there are "
                    f"{', '.join(SERIALIZERS)}."
                )
        if "json" not in self.accept_content:
            raise InvalidSettingError(
                f"{PREFIX}ACCEPT_CONTENT is {list(self.accept_content)!r}; wopr's messages are "
                'JSON, so it has to have "json".'
            )
        try:
            zone(self.timezone)
        except InvalidScheduleSpecificationError as error:
            raise InvalidSettingError(f"{PREFIX}TIMEZONE can't be used: {error}") from None

    @classmethod
    def from_env(
        cls, environ: Mapping[str, str] | None = None, prefix: str = PREFIX
    ) -> CeleryConfig:
        """Read it from the environment.

        Args:
            environ: ``None`` means that of this process.
            prefix: what the names begin with; another bridge's may stay as they are.

        Raises:
            InvalidSettingError: there is no broker, or a value can't be read.
        """
        found = os.environ if environ is None else environ
        texts = {name: found.get(prefix + name.upper(), "") for name in cls.__slots__}
        given: dict[str, object] = {name: text for name, text in texts.items() if text}
        given.setdefault("broker_url", "")
        if "accept_content" in given:
            given["accept_content"] = _names(prefix, texts["accept_content"])
        if "enable_utc" in given:
            given["enable_utc"] = _switch(prefix, texts["enable_utc"])
        return cls(**given)  # type: ignore[arg-type]  # texts, but for the two above

    def app(self) -> Celery:
        """Return a new Celery app of it."""
        app = Celery(self.app_name, broker=self.broker_url, backend=self.result_backend)
        app.conf.update(
            task_serializer=self.task_serializer,
            result_serializer=self.result_serializer,
            accept_content=list(self.accept_content),
            timezone=self.timezone,
            enable_utc=self.enable_utc,
        )
        return app


def _names(prefix: str, text: str) -> tuple[str, ...]:
    """Read a JSON list of names."""
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise InvalidSettingError(
            f'{prefix}ACCEPT_CONTENT is {text!r}; it is a JSON list of names, like ["json"].'
        )
    return tuple(found)


def _switch(prefix: str, text: str) -> bool:
    found = (_ON | _OFF).get(text.strip().lower())
    if found is None:
        raise InvalidSettingError(f"{prefix}ENABLE_UTC is {text!r}; it is true or false.")
    return found
