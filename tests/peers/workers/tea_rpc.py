"""Calls of alibabacloud-tea-rpc, one a line: {"action", "parameters"} in, {"body"} or {"error"} out."""

import json
import sys

from alibabacloud_tea_rpc.client import Client
from alibabacloud_tea_rpc.models import Config
from alibabacloud_tea_util.models import RuntimeOptions
from Tea.exceptions import TeaException


def main():
    credentials = json.loads(sys.stdin.readline())
    client = Client(
        Config(
            access_key_id=credentials["AccessKeyId"],
            access_key_secret=credentials["AccessKeySecret"],
            endpoint=credentials["Endpoint"].split("//")[1].rstrip("/"),
            protocol="http",
        )
    )
    reply({"body": {}})
    for line in sys.stdin:
        call = json.loads(line)
        try:
            body = client.do_request(
                call["action"],
                "HTTP",
                "POST",
                "2017-09-08",
                "AK",
                None,
                call["parameters"],
                RuntimeOptions(autoretry=False),
            )
            reply({"body": body})
        except TeaException as error:
            data = error.data if isinstance(error.data, dict) else {}
            reply({"error": {"code": error.code, "status": data.get("statusCode"), "message": error.message}})


def reply(message):
    print(json.dumps(message), flush=True)


main()
