"""E-mail by SMTP. The Message-ID stays the same at every attempt, so mail readers show it once."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import format_datetime

from notices import rules
from notices.channels.contract import AWAY, DeliveryFailed, NoticeMessage

TIMEOUT_S = 15.0


class EmailChannel:
    """A mail server."""

    def __init__(self, table: rules.EmailSettings) -> None:
        self._table = table

    def send(self, message: NoticeMessage) -> None:
        """Hand a mail over to the server."""
        try:
            with self._connect() as server:
                server.send_message(self.mail(message))
        except smtplib.SMTPResponseException as error:
            why = f"{self._table.host} answered {error.smtp_code}: {str(error.smtp_error)[:120]}"
            raise DeliveryFailed(why, hold=AWAY if error.smtp_code // 100 == 4 else None) from None
        except smtplib.SMTPRecipientsRefused as error:
            raise DeliveryFailed(
                f"{self._table.host} refused every reader: {str(error.recipients)[:120]}"
            ) from None
        except (smtplib.SMTPException, OSError) as error:
            raise DeliveryFailed(
                f"{self._table.host}: {type(error).__name__}: {str(error)[:120]}", hold=AWAY
            ) from None

    def mail(self, message: NoticeMessage) -> EmailMessage:
        """Write the mail."""
        table = self._table
        mail = EmailMessage()
        mail["From"] = table.sender
        mail["To"] = ", ".join(table.to)
        mail["Subject"] = message.subject.replace("\n", " ").replace("\r", " ")
        mail["Date"] = format_datetime(message.sent_at)
        mail["Message-ID"] = f"<{message.id}@{table.sender.partition('@')[2]}>"
        mail["Auto-Submitted"] = "auto-generated"
        if message.urgent:
            mail["X-Priority"] = "1"
        mail.set_content(message.body)
        return mail

    def _connect(self) -> smtplib.SMTP:
        table = self._table
        context = ssl.create_default_context()
        if table.security == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                table.host, table.port, timeout=TIMEOUT_S, context=context
            )
        else:
            server = smtplib.SMTP(table.host, table.port, timeout=TIMEOUT_S)
            if table.security == "starttls":
                server.starttls(context=context)
        if table.username and table.password:
            server.login(table.username, table.password)
        return server
