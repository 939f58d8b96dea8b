"""Clients that live in another environment or language: a process of theirs that is given one call a line."""

import json
import os
import pathlib
import subprocess

from ..contract import parameters_in
from ..signing import ApiError, json_texts

WORKERS = pathlib.Path(__file__).parents[2] / "workers"


class _Worker:
    def __init__(self, command, credentials, env=None):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
        )
        self._exchange({key: credentials[key] for key in ("Endpoint", "RegionId", "AccessKeyId", "AccessKeySecret")})

    def _exchange(self, message):
        self.process.stdin.write(json.dumps(message) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        assert line, f"the client's process ended with {self.process.wait()}"
        answer = json.loads(line)
        if "error" in answer:
            error = answer["error"]
            raise ApiError(error["code"], error.get("status"), error["message"])
        return answer["body"]

    def close(self):
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait(timeout=10)


class TeaRpcCaller(_Worker):
    """The transport of the Terraform provider: the common parameters in the query, all others in the form body."""

    def __init__(self, credentials):
        super().__init__([os.environ["STRONGROOM_TEST_TEA_RPC_PYTHON"], str(WORKERS / "tea_rpc.py")], credentials)

    def call(self, action, parameters=None):
        return self._exchange({"action": action, "parameters": json_texts(action, parameters or {})})


class _Node(_Worker):
    def __init__(self, credentials, script):
        super().__init__(
            [os.environ["STRONGROOM_TEST_NODE"], str(WORKERS / script)],
            credentials,
            {"NODE_PATH": os.environ["STRONGROOM_TEST_NODE_MODULES"]},
        )


class PopCoreCaller(_Node):
    """@alicloud/pop-core: HMAC-SHA1; with POST everything is in the form body, the signature too."""

    def __init__(self, credentials, method):
        super().__init__(credentials, "pop_core.js")
        self.method = method

    def call(self, action, parameters=None):
        # CreateBackupPlan and CreateRestoreJob are POST only.
        method = "POST" if action in ("CreateBackupPlan", "CreateRestoreJob") else self.method
        message = {"action": action, "method": method, "parameters": json_texts(action, parameters or {})}
        return _long_integers(self._exchange(message))


def _long_integers(value):
    """This client reads integers of more than 15 digits as text, as JavaScript's numbers would lose digits."""
    if isinstance(value, dict):
        return {name: _long_integers(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_long_integers(item) for item in value]
    return int(value) if isinstance(value, str) and value.isdigit() and len(value) > 15 else value


class NodeOpenApiCaller(_Node):
    """@alicloud/openapi-client: ACS3-HMAC-SHA256, bodies sent in chunks."""

    def __init__(self, credentials):
        super().__init__(credentials, "openapi_client.js")

    def call(self, action, parameters=None):
        texts = json_texts(action, parameters or {})
        return self._exchange(
            {
                "action": action,
                "query": parameters_in(action, "query", texts),
                "body": parameters_in(action, "body", texts),
            }
        )
