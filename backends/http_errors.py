"""What an HTTP answer that is no completion means: status, headers and body -> one typed error.

The shapes are those that hosted NIM, vLLM, llama-server, LM Studio, `llama_cpp.server`, TGI and OpenAI are known to
send. Some say one thing by the status and another by the text: there the text wins.
"""

from __future__ import annotations

import email.utils
import math
import re
import time
from collections.abc import Mapping
from typing import Any

from .addresses import read_url
from .errors import (
    BackendError,
    BadRequest,
    ContextOverflow,
    FieldRejected,
    MalformedReply,
    NoSuchModel,
    OutOfCredit,
    RateLimited,
    Refused,
    TimedOut,
    Unauthorized,
    Unavailable,
)
from .json_text import count, parse_json
from .text import one_line

SHORTEST_WAIT_S = 0.5
LONGEST_WAIT_S = 300.0

_OVERFLOW = re.compile(
    r"maximum context length|context[_ ]length[_ ]exceeded|exceed_context_size|exceeds? the (available )?context"
    r"|exceed(s|ed)? (the )?context window|longer than the (maximum )?(context|model length)|context (size )?overflow"
    r"|max_tokens must be at least 1, got -|maximum (model|input|sequence) length|prompt is too long|input is too long"
    r"|reduce the length of the (messages|prompt)|inputs?` (tokens|must have)|context the overflows"
    r"|(request|prompt|input)\b.{0,40}\btoo (large|long) for.{0,30}context",
    re.IGNORECASE,
)
_OUT_OF_CREDIT = re.compile(
    r"insufficient_quota|credits? (expired|exhausted)|out of credits?|billing_hard_limit", re.IGNORECASE
)
_FILTERED = re.compile(
    r"content_filter|content management policy|content[_ ]policy|flagged by.{0,20}moderation", re.IGNORECASE
)
_NO_MODEL = re.compile(
    r"model_not_found|model[^.]{0,80}(does not exist|not found|is not (available|loaded|supported))|no models? loaded"
    r"|unknown model|invalid model name",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(
    r"api[ _]key (not valid|is invalid)|(invalid|incorrect|wrong) api[ _]key", re.IGNORECASE
)
_NOT_TAKEN = re.compile(
    r"extra_forbidden|extra inputs|not (permitted|supported|allowed|available|implemented)|unsupported|unrecognized"
    r"|unknown (field|parameter|argument)|unexpected (field|keyword)|(must|should) be|less than or equal"
    r"|invalid|cannot",
    re.IGNORECASE,
)
_WRONG_PATH = re.compile(
    r"unexpected endpoint|page not found|no such (route|endpoint)|^not found$", re.IGNORECASE
)
_KEYS = re.compile(r"\b(nvapi-|sk-|hf_|Bearer\s+)[A-Za-z0-9_\-.]{6,}")


def retry_after(headers: Mapping[str, str], wall_clock: float | None = None) -> float | None:
    """Seconds that a server asks us to wait, clamped to 0.5–300. `headers` has lower-case names.

    Reads `retry-after-ms`, then `Retry-After` as seconds or as a date (against the server's own `Date` where it sent
    one). None where it says nothing usable: no header, negative, NaN, infinite, past.
    """
    milliseconds = _seconds(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _clamped(milliseconds / 1000)
    text = headers.get("retry-after", "").strip()
    seconds = _seconds(text)
    if seconds is not None:
        return _clamped(seconds)
    until = _date(text)
    if until is None:
        return None
    now = _date(headers.get("date", "")) or (time.time() if wall_clock is None else wall_clock)
    return _clamped(until - now) if until > now else None


def server_message(body: bytes, limit: int = 200) -> str:
    """What the server says went wrong, on one safe line; "" where it says nothing."""
    try:
        value = parse_json(body)
    except MalformedReply:
        text = body.decode("utf-8", "replace")
        title = re.search(r"<title[^>]*>([^<]{1,200})", text[:4000], re.IGNORECASE)
        if title is not None:
            return hide_keys(one_line(f"a web page: {title[1]}", limit))
        return hide_keys(one_line(text, limit))
    found = _said(value)
    return hide_keys(one_line(found if found else body.decode("utf-8", "replace"), limit))


def hide_keys(text: str) -> str:
    """The text without anything that looks like a key."""
    return _KEYS.sub("***", text)


def error_of(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    server: str,
    model: str,
    optional: tuple[str, ...] = (),
) -> BackendError:
    """The typed error for an answer that is no completion. `optional`: fields of the request that it could do without.

    `server` and `model` are for the message. An `error` inside a 200 is read by its own code, where it has one.
    """
    if 300 <= status < 400:
        return _redirect(status, headers, server)
    said = server_message(body)
    whole = f"{said} {body[:4000].decode('utf-8', 'replace')}"
    if 200 <= status < 300:
        status = _inner_status(body) or status
    known = _by_text(status, whole, said, server, model, optional)
    if known is None:
        known = _by_status(status, said, server, model)
    known.status = status
    if isinstance(known, RateLimited | Unavailable):
        known.retry_after = retry_after(headers)
    return known


def _by_text(
    status: int, whole: str, said: str, server: str, model: str, optional: tuple[str, ...]
) -> BackendError | None:
    """What the text alone tells, whatever the status; None where it decides nothing."""
    quoted = f": {said}" if said else ""
    if status < 500 and "DEGRADED" in whole:
        return Unavailable(f"{server} cannot run {model} now{quoted}", advice="It is tried again later")
    if status in (401, 403):
        return None
    if _OUT_OF_CREDIT.search(whole):
        return _out_of_credit(server, said)
    if status == 429:
        return None
    if _OVERFLOW.search(whole):
        return ContextOverflow(
            f"prompt and answer do not fit the context window of {model}{quoted}",
            advice="Ask for fewer tokens, shorten the prompt, or give the server a larger context",
        )
    if _FILTERED.search(whole) and status < 500:
        return Refused(f"the policy of {server} forbids this request{quoted}")
    if status in (400, 422, 500, 501) and (field := _field_named(whole, optional)):
        return FieldRejected(f"{server} does not take {field} for {model}{quoted}", field=field)
    if status < 500 and _BAD_KEY.search(whole):
        return _unauthorized(server, said)
    if _WRONG_PATH.search(said):
        return _wrong_path(status, server, model, said)
    if status in (200, 400, 422) and _NO_MODEL.search(whole):
        return NoSuchModel(f"{server} has no model {model}{quoted}")
    return None


def _by_status(status: int, said: str, server: str, model: str) -> BackendError:
    quoted = f": {said}" if said else ""
    if status in (401, 403):
        return _unauthorized(server, said)
    if status == 402:
        return _out_of_credit(server, said)
    if status == 404:
        return NoSuchModel(f"{server} has no model {model} for this account{quoted}")
    if status == 410:
        return NoSuchModel(f"{model} was retired by {server}{quoted}")
    if status in (408, 504):
        return TimedOut(f"{server} gave up waiting for its own answer (HTTP {status}){quoted}")
    if status == 413:
        return ContextOverflow(f"the request is too large for {server}{quoted}")
    if status == 429:
        return RateLimited(f"too many requests for {server}{quoted}", advice="They go on more slowly")
    if status in (409, 425, 499) or (status >= 500 and status not in (501, 505)):
        return Unavailable(
            f"{server} cannot answer now (HTTP {status}){quoted}", advice="It is tried again later"
        )
    if 200 <= status < 300:
        return MalformedReply(f"{server} answered HTTP {status} without a completion{quoted}")
    return BadRequest(f"{server} rejects the request (HTTP {status}){quoted}")


def _redirect(status: int, headers: Mapping[str, str], server: str) -> BackendError:
    try:
        target = f" to {read_url(headers.get('location', '').split('?')[0]).origin}"
    except BadRequest:
        target = ""
    return BadRequest(
        f"{server} answers with a redirect{target} (HTTP {status}), which is not followed",
        advice="Give the address that it redirects to as the base URL, if you trust it",
        status=status,
    )


def _unauthorized(server: str, said: str) -> Unauthorized:
    return Unauthorized(
        f"{server} does not accept the key" + (f": {said}" if said else ""),
        advice="Check the key, and that this account may use the model",
    )


def _out_of_credit(server: str, said: str) -> OutOfCredit:
    return OutOfCredit(
        f"the account at {server} has no credit left" + (f": {said}" if said else ""),
        advice="Add credit there, or change the backend; what was made so far is kept",
    )


def _wrong_path(status: int, server: str, model: str, said: str) -> BackendError:
    advice = "Check the model's name, and that the base URL is right: it usually ends in /v1"
    if status == 404:
        return NoSuchModel(f"{server} knows no model {model} at this address: {said}", advice=advice)
    return BadRequest(f"{server} has no such endpoint: {said}", advice="The base URL usually ends in /v1")


def _field_named(text: str, optional: tuple[str, ...]) -> str | None:
    """The first of our optional fields that the server complains about. A longer name goes before its part."""
    if not _NOT_TAKEN.search(text):
        return None
    for name in sorted(optional, key=len, reverse=True):
        spelled = re.escape(name).replace("_", "[_ ]")
        if re.search(rf"(?<![A-Za-z_]){spelled}(?![A-Za-z_])", text, re.IGNORECASE):
            return name
    return None


def _said(value: Any) -> str:
    """error.message, error, detail, message, title: in this order."""
    if not isinstance(value, dict):
        return ""
    error = value.get("error")
    if isinstance(error, dict):
        for key in ("message", "detail", "type", "code"):
            if isinstance(error.get(key), str) and error[key].strip():
                return str(error[key])
    if isinstance(error, str) and error.strip():
        return error
    detail = value.get("detail")
    if isinstance(detail, list):
        parts = [_detail(d) for d in detail[:5]]
        detail = "; ".join(p for p in parts if p)
    for text in (detail, value.get("message"), value.get("title")):
        if isinstance(text, str) and text.strip():
            return text
    return ""


def _detail(item: Any) -> str:
    if not isinstance(item, dict):
        return item if isinstance(item, str) else ""
    where = item.get("loc")
    place = ".".join(str(p) for p in where[:6]) if isinstance(where, list) else ""
    message = item.get("msg") if isinstance(item.get("msg"), str) else ""
    return f"{place}: {message}" if place and message else f"{place}{message}"


def _inner_status(body: bytes) -> int | None:
    try:
        value = parse_json(body)
    except MalformedReply:
        return None
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    for holder in (error if isinstance(error, dict) else {}, value):
        for key in ("code", "status"):
            code = count(holder.get(key))
            if code is not None and 400 <= code < 600:
                return code
    return None


def _seconds(text: str | None) -> float | None:
    """A number in a header; None where it is none, or one that no wait can have."""
    try:
        value = float(text) if text else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _clamped(seconds: float) -> float:
    return min(LONGEST_WAIT_S, max(SHORTEST_WAIT_S, seconds))


def _date(text: str) -> float | None:
    try:
        return email.utils.parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError, AttributeError):
        return None
