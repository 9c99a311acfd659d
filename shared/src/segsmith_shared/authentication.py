"""API keys: made here, shown once, and kept as digests only."""

import secrets
from datetime import timedelta
from hashlib import sha256

from sqlalchemy import func, text, update
from sqlmodel import Session, col, or_, select

from segsmith_shared.database.tables import ApiKey
from segsmith_shared.database.tables.columns import now
from segsmith_shared.problems import InvalidInput

MARK = "sgs_"
PREFIX_CHARACTERS = 12
SHORTEST_KEY, LONGEST_KEY = 40, 100
LAST_USED_PRECISION = timedelta(minutes=1)


class UnusableKey(InvalidInput):
    """A key that somebody thought of is not one that this installation would make."""

    title = "The API key cannot be used"


def make_key() -> str:
    """A new key: 256 random bits, so that a plain digest of it is as good as a salted slow one."""
    return MARK + secrets.token_urlsafe(32)


def digest_of(key: str) -> str:
    """What is stored and looked up in place of the key: 64 hexadecimal digits."""
    return sha256(key.encode(errors="surrogatepass")).hexdigest()


def create_key(session: Session, name: str, key: str | None = None) -> tuple[ApiKey, str]:
    """A new row and the key in the clear, which exists nowhere else unless it was given. The caller commits.

    Raises UnusableKey for a given one without the mark, or too short to be safe from guessing, or too long.
    """
    key = make_key() if key is None else key
    if not (key.startswith(MARK) and key.isascii() and SHORTEST_KEY <= len(key) <= LONGEST_KEY):
        raise UnusableKey(
            f"A key starts with {MARK} and has {SHORTEST_KEY} to {LONGEST_KEY} characters.",
            hint=f"Make one: echo {MARK}$(openssl rand -hex 32)",
        )
    row = ApiKey(name=name, prefix=key[:PREFIX_CHARACTERS], digest=digest_of(key))
    session.add(row)
    session.flush()
    return row, key


def verify(session: Session, key: str) -> ApiKey | None:
    """The row of a valid key, None for any other text.

    The lookup goes by digest: how long it takes says nothing about a stored key, because nobody can steer the digest of
    a guess towards one. `last_used_at` is brought up to date at most once a minute, so that reading does not write.
    """
    if not key.startswith(MARK) or len(key) > LONGEST_KEY:
        return None
    row = session.exec(select(ApiKey).where(ApiKey.digest == digest_of(key), col(ApiKey.revoked_at).is_(None))).first()
    if row is not None:
        _note_use(session, row)
    return row


def ensure_first_key(session: Session, name: str = "first key", given: str | None = None) -> str | None:
    """A key in the clear if no valid one exists, else None: whoever starts an installation can always get in.

    It is the `given` one where there is one. Raises UnusableKey.
    """
    session.execute(text("SELECT pg_advisory_xact_lock(hashtext('segsmith first api key'))"))
    count = session.exec(select(func.count()).select_from(ApiKey).where(col(ApiKey.revoked_at).is_(None))).one()
    return None if count else create_key(session, name, given)[1]


def _note_use(session: Session, row: ApiKey) -> None:
    moment = now()
    stale = or_(col(ApiKey.last_used_at).is_(None), col(ApiKey.last_used_at) < moment - LAST_USED_PRECISION)
    if row.last_used_at is None or row.last_used_at < moment - LAST_USED_PRECISION:
        session.execute(update(ApiKey).where(col(ApiKey.id) == row.id, stale).values(last_used_at=moment))
