"""Both request signatures, written from the description alone: the tests' own client, and the tool for wrong requests.

Independent of the product and of the SDKs, so that a fault in one of them shows.
"""

import base64
import hashlib
import hmac
import http.client
import json
import ssl
import time
import urllib.parse
import uuid

VERSION = "2017-09-08"
FORM = "application/x-www-form-urlencoded"


class ApiError(Exception):
    """A failure as the API answers it."""

    def __init__(self, code, http_status, message):
        super().__init__(f"{http_status} {code}: {message}")
        self.code, self.http_status, self.message = code, http_status, message


def encode(text):
    return urllib.parse.quote(str(text), safe="-_.~")


def form(pairs):
    return "&".join(f"{encode(key)}={encode(value)}" for key, value in sorted(pairs.items()))


def flatten(value, prefix=""):
    """Lists and objects as `Filters.1.Values.2` pairs; booleans as other SDKs than Python's write them."""
    if isinstance(value, dict):
        items = [(str(key), item) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        items = [(str(index), item) for index, item in enumerate(value, 1)]
    else:
        return {prefix: ("true" if value else "false") if isinstance(value, bool) else str(value)}
    pairs = {}
    for key, item in items:
        if item is not None:
            pairs.update(flatten(item, f"{prefix}.{key}" if prefix else key))
    return pairs


def utc_now(offset_seconds=0):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + offset_seconds))


def v1_parameters(key, secret, action, parameters, method="POST", nonce=None, timestamp=None, **overrides):
    """All parameters of a call signed with HMAC-SHA1, the signature included."""
    pairs = {
        "Action": action,
        "Version": VERSION,
        "Format": "JSON",
        "AccessKeyId": key,
        "SignatureMethod": "HMAC-SHA1",
        "SignatureVersion": "1.0",
        "SignatureNonce": nonce or uuid.uuid4().hex,
        "Timestamp": timestamp or utc_now(),
        **flatten(parameters),
        **overrides,
    }
    pairs = {name: value for name, value in pairs.items() if value is not None}
    to_sign = f"{method}&%2F&{encode(form(pairs))}"
    digest = hmac.new(f"{secret}&".encode(), to_sign.encode(), hashlib.sha1).digest()
    return {**pairs, "Signature": base64.b64encode(digest).decode()}


def v3_request(
    key,
    secret,
    host,
    action,
    parameters,
    method="POST",
    body=b"",
    nonce=None,
    timestamp=None,
    drop=(),
    path="/",
    **overrides,
):
    """URL and headers of a call signed with ACS3-HMAC-SHA256. Headers in `drop` are left out, after signing too."""
    query = form(flatten(parameters))
    headers = {
        "host": host,
        "x-acs-action": action,
        "x-acs-version": VERSION,
        "x-acs-date": timestamp or utc_now(),
        "x-acs-signature-nonce": nonce or uuid.uuid4().hex,
        "x-acs-content-sha256": hashlib.sha256(body).hexdigest(),
    }
    if body:
        headers["content-type"] = FORM
    headers.update({name.replace("_", "-"): value for name, value in overrides.items()})
    for name in drop:
        headers.pop(name, None)
    signed = ";".join(sorted(headers))
    canonical_headers = "".join(f"{name}:{headers[name].strip()}\n" for name in sorted(headers))
    payload = hashlib.sha256(body).hexdigest()
    canonical = f"{method}\n{path}\n{query}\n{canonical_headers}\n{signed}\n{payload}"
    to_sign = f"ACS3-HMAC-SHA256\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = hmac.new(secret.encode(), to_sign.encode(), hashlib.sha256).hexdigest()
    headers["Authorization"] = f"ACS3-HMAC-SHA256 Credential={key},SignedHeaders={signed},Signature={signature}"
    return f"{path}?{query}" if query else path, headers


def send(host, method, url, headers, body=b"", timeout=30, ca_file=None):
    """Sends one request, over TLS if a CA is named; returns the status, the headers and the body read as JSON."""
    if ca_file:
        context = ssl.create_default_context(cafile=ca_file)
        connection = http.client.HTTPSConnection(host, timeout=timeout, context=context)
    else:
        connection = http.client.HTTPConnection(host, timeout=timeout)
    try:
        connection.request(
            method, url, body or None, {name: value for name, value in headers.items() if name != "host"}
        )
        answer = connection.getresponse()
        text = answer.read()
    finally:
        connection.close()
    content_type = answer.getheader("content-type", "")
    assert content_type.startswith("application/json"), f"{answer.status} answered as {content_type}: {text[:500]}"
    return answer.status, dict(answer.getheaders()), json.loads(text)


def checked(status, body):
    """The body of a success; a failure is raised, and no success hides a failure."""
    if status != 200:
        assert 400 <= status < 600, status
        assert set(body) >= {"RequestId", "HostId", "Code", "Message"}, body
        raise ApiError(body["Code"], status, body["Message"])
    assert body.get("Success", True) is True, body
    assert body.get("Code", "200") == "200", body
    return body


class SignedCaller:
    """The tests' own client: every parameter in the query, signed with ACS3-HMAC-SHA256."""

    name = "own-v3"

    def __init__(self, credentials):
        self.key, self.secret = credentials["AccessKeyId"], credentials["AccessKeySecret"]
        self.host = credentials["Endpoint"].split("//")[1].rstrip("/")
        self.ca_file = credentials.get("CaFile")

    def call(self, action, parameters=None):
        pairs = json_texts(action, parameters or {})
        url, headers = v3_request(self.key, self.secret, self.host, action, pairs)
        status, _, body = send(self.host, "POST", url, headers, ca_file=self.ca_file)
        return checked(status, body)


def json_texts(action, parameters):
    """Parameters that travel as one JSON text are turned into it, by the contract."""
    from .contract import CONTRACT

    texts = (
        {field["name"] for field in CONTRACT[action]["request"] if field.get("enc") == "json"}
        if action in CONTRACT
        else set()
    )
    return {
        name: json.dumps(value, separators=(",", ":")) if name in texts and not isinstance(value, str) else value
        for name, value in parameters.items()
    }
