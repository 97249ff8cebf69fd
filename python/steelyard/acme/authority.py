"""Orders from an authority: an account, an order, its proofs, the certificate."""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

from acme import client, crypto_util, errors, messages
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from steelyard import __version__
from steelyard.acme.challenge import Proofs, proofs_of
from steelyard.acme.keys import new_key, pem_of
from steelyard.acme.store import Store
from steelyard.config.acme import Acme
from steelyard.errors import SteelyardError

__all__ = ["Authority"]

PATIENCE = timedelta(seconds=90)
"""How long the authority may take to look at the proofs, and again to issue."""
REQUEST_TIMEOUT_S = 30
NONCE_ROUNDS = 5
"""How often a request is sent whose nonce is refused; in each round the library tries twice."""


class Refused(SteelyardError):
    """The authority did not issue, or could not be asked."""


class Authority:
    """One account at one authority."""

    def __init__(self, acme: Acme, store: Store) -> None:
        self._acme = acme
        self._store = store
        self._client: client.ClientV2 | None = None

    def obtain(self, names: Sequence[str], show: Callable[[Proofs], None]) -> tuple[bytes, str]:
        """The key and the chain of a new certificate, both PEM.

        `show` lets the engine show proofs, and is called without any in the end. Raises Refused.
        """
        try:
            return self._obtain(names, show)
        except (errors.Error, messages.Error, OSError, ValueError) as error:
            # It may have forgotten the account meanwhile.
            self._client = None
            raise Refused(
                f"{self._acme.directory} issued nothing for {', '.join(names)}: {told(error)}"
            ) from error

    def renewal(self, chain: bytes) -> datetime | None:
        """When the authority wishes the certificate to be renewed; None where it says nothing."""
        try:
            when, _ = self._connected().renewal_time(chain)
        except (errors.Error, messages.Error, OSError, ValueError):
            return None
        return when

    def _obtain(self, names: Sequence[str], show: Callable[[Proofs], None]) -> tuple[bytes, str]:
        connected = self._connected()
        key = pem_of(new_key())
        order = connected.new_order(crypto_util.make_csr(key, list(names)))
        chosen = [self._challenge(one) for one in order.authorizations if is_open(one)]
        account = connected.net.key
        assert account is not None, "the account was opened with it"
        show(proofs_of([(name, body.chall) for name, body in chosen], account))
        try:
            for _, body in chosen:
                connected.answer_challenge(body, body.chall.response(account))
            issued = connected.poll_and_finalize(order, datetime.now() + PATIENCE)
        finally:
            show(Proofs())
        return key, issued.fullchain_pem

    def _challenge(self, authorization: messages.AuthorizationResource) -> tuple[str, messages.ChallengeBody]:
        name = authorization.body.identifier.value
        for body in authorization.body.challenges:
            if body.chall.typ == self._acme.challenge:
                return name, body
        offered = ", ".join(body.chall.typ for body in authorization.body.challenges)
        raise ValueError(f"{name} cannot be proved by {self._acme.challenge} there; offered are {offered}")

    def _connected(self) -> client.ClientV2:
        if self._client is None:
            self._client = self._connect()
        return self._client

    def _connect(self) -> client.ClientV2:
        key = JWKEC(key=self._store.account_key())
        trust: Any = str(self._acme.ca) if self._acme.ca else True
        net = Network(
            key,
            alg=ES256,
            verify_ssl=trust,
            user_agent=f"steelyard/{__version__}",
            timeout=REQUEST_TIMEOUT_S,
        )
        directory = client.ClientV2.get_directory(self._acme.directory, net)
        connected = client.ClientV2(directory, net)
        ours = messages.NewRegistration.from_data(email=self._acme.email, terms_of_service_agreed=True)
        try:
            connected.new_account(ours)
        except errors.ConflictError as known:
            # The authority knows the key already.
            net.account = messages.RegistrationResource(uri=known.location, body=messages.Registration())
        return connected


class Network(client.ClientNetwork):
    """Sends a request again as long as its nonce is what is wrong with it (RFC 8555 section 6.5).

    The library does so once. An authority of many machines, or one that restarts, refuses more in a row, and
    an order that is given up for that begins anew a minute later.
    """

    def post(self, *args: Any, **kwargs: Any) -> Any:
        for _ in range(NONCE_ROUNDS - 1):
            try:
                return super().post(*args, **kwargs)
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
        return super().post(*args, **kwargs)


def is_open(authorization: messages.AuthorizationResource) -> bool:
    """Whether the name has still to be proved."""
    return bool(authorization.body.status != messages.STATUS_VALID)


def told(error: Exception) -> str:
    """What the authority said, name by name where it did."""
    if isinstance(error, errors.ValidationError):
        return "; ".join(
            f"{one.body.identifier.value}: {body.error.detail}"
            for one in error.failed_authzrs
            for body in one.body.challenges
            if body.error is not None
        )
    if isinstance(error, errors.TimeoutError):
        return f"no answer within {PATIENCE.seconds} s"
    if isinstance(error, messages.Error):
        return str(error.detail or error)
    return str(error) or type(error).__name__
