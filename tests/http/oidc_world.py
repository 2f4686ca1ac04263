"""An OpenID provider: its keys, the tokens that it makes, and where it tells its keys over TLS."""

import base64
import ssl
import time
from pathlib import Path
from typing import Any

import jwt
import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from repertory.certificates import CertificateSet, make_certificates

AUDIENCE = "repertory"
ROLES = {"mlops": "publish", "apps": "score", "people": "read", "boss": "admin"}


class Provider:
    """Makes tokens, with a key for RS256, `one`; `add_key` makes one for ES256."""

    def __init__(self, folder: Path, issuer: str = "https://login.example") -> None:
        self.folder = folder
        self.issuer = issuer
        self._private: dict[str, Any] = {}
        self._algorithms: dict[str, str] = {}
        self.asked: list[str] = []
        self.broken = False
        self._add("one", rsa.generate_private_key(65537, 2048), "RS256")

    def add_key(self, kid: str) -> None:
        """Have one more key."""
        self._add(kid, ec.generate_private_key(ec.SECP256R1()), "ES256")

    def _add(self, kid: str, key: Any, algorithm: str) -> None:
        self._private[kid], self._algorithms[kid] = key, algorithm

    def remove_key(self, kid: str) -> None:
        """Take a key back."""
        del self._private[kid]

    def jwks(self) -> dict[str, Any]:
        """Return the public keys."""
        return {"keys": [self._jwk(kid) for kid in self._private]}

    def _jwk(self, kid: str) -> dict[str, Any]:
        kind = RSAAlgorithm if self._algorithms[kid] == "RS256" else ECAlgorithm
        public = kind.to_jwk(self._private[kid].public_key(), as_dict=True)
        return {**public, "kid": kid, "use": "sig"}

    def public_pem(self, kid: str = "one") -> bytes:
        """Return a public key, which anybody may have."""
        kinds = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return bytes(self._private[kid].public_key().public_bytes(*kinds))

    def write(self) -> Path:
        """Write the keys to a file; its path."""
        path = self.folder / "jwks.json"
        path.write_bytes(orjson.dumps(self.jwks()))
        return path

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Return what a good token says, but for some; None takes one away."""
        now = int(time.time())
        whole = {"iss": self.issuer, "aud": AUDIENCE, "sub": "anna", "exp": now + 300, "iat": now}
        whole |= {"roles": ["mlops"]} | claims
        return {name: value for name, value in whole.items() if value is not None}

    def token(self, kid: str = "one", *, header: Any = None, **claims: Any) -> dict[str, str]:
        """Return the header of a request with a token of these claims."""
        key, algorithm = self._private[kid], self._algorithms[kid]
        made = jwt.encode(
            self.claims(**claims), key, algorithm, headers={"kid": kid} | (header or {})
        )
        return {"Authorization": f"Bearer {made}"}

    def config(self, **oidc: Any) -> dict[str, Any]:
        """Return `http.oidc`, with the keys in a file unless something else is said."""
        found = {"issuer": self.issuer, "audience": AUDIENCE, "roles": ROLES}
        return found | ({} if "jwks" in oidc else {"jwks": str(self.write())}) | oidc

    async def serve(self) -> TestServer:
        """Tell the keys over TLS, as `issuer` from now on; SSL_CERT_FILE is `authority`."""
        files = CertificateSet(self.folder / "provider")
        list(make_certificates(files, {"idp": "127.0.0.1"}, days=9))
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(files.certificate("idp"), files.key("idp"))
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        server = TestServer(app)
        await server.start_server(ssl=context)
        self.authority = files.authority
        self.issuer = f"https://127.0.0.1:{server.port}"
        return server

    async def _answer(self, request: web.Request) -> web.Response:
        self.asked.append(request.path)
        if self.broken:
            return web.Response(status=500)
        if request.path == "/.well-known/openid-configuration":
            document = {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"}
            return web.json_response(document)
        if request.path == "/moved":
            raise web.HTTPFound(f"{self.issuer}/keys")
        return web.json_response(self.jwks())


def unsigned(header: dict[str, Any], claims: dict[str, Any], signature: bytes = b"") -> str:
    """Return a token as anybody can put one together."""
    parts = orjson.dumps(header), orjson.dumps(claims), signature
    return ".".join(base64.urlsafe_b64encode(each).rstrip(b"=").decode() for each in parts)
