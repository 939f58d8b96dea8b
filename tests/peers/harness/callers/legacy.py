"""The legacy Python SDK aliyun-python-sdk-hbr on aliyun-python-sdk-core: setters, HMAC-SHA1, GET and POST."""

import importlib
import json

from aliyunsdkcore.acs_exception.exceptions import ServerException
from aliyunsdkcore.client import AcsClient
from aliyunsdkcore.request import CommonRequest

from ..contract import CONTRACT
from ..signing import ApiError, flatten, json_texts


class LegacyCaller:
    def __init__(self, credentials, method):
        self.client = AcsClient(
            credentials["AccessKeyId"], credentials["AccessKeySecret"], credentials["RegionId"], auto_retry=False
        )
        self.host = credentials["Endpoint"].split("//")[1].rstrip("/")
        self.method = method

    def call(self, action, parameters=None):
        request = self._request(action, parameters or {})
        request.set_accept_format("JSON")
        # Three actions are POST only; with GET the SDK would send no form body either.
        posted = any(field["in"] == "body" for field in CONTRACT.get(action, {}).get("request", []))
        request.set_method("POST" if posted else self.method)
        request.set_protocol_type("http")
        try:
            return json.loads(self.client.do_action_with_exception(request))
        except ServerException as error:
            raise ApiError(error.get_error_code(), error.get_http_status(), error.get_error_msg()) from error

    def _request(self, action, parameters):
        try:
            module = importlib.import_module(f"aliyunsdkhbr.request.v20170908.{action}Request")
        except ModuleNotFoundError:
            # An action younger than this SDK: its users send it as a common request.
            request = CommonRequest(domain=self.host, version="2017-09-08", action_name=action)
            for name, value in flatten(json_texts(action, parameters)).items():
                request.add_query_param(name, value)
            return request
        request = getattr(module, f"{action}Request")()
        request.set_endpoint(self.host)
        # Its setters turn lists into flat parameters, or objects into JSON; these two they hand on as they are.
        texts = {name: value for name, value in json_texts(action, parameters).items() if name in ("InstanceIds", "ClientIds")}
        for name, value in {**parameters, **texts}.items():
            setter = getattr(request, f"set_{name}s", None) if isinstance(value, list) else None
            (setter or getattr(request, f"set_{name}"))(value)
        return request

    def close(self):
        pass
