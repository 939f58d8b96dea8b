"""The official Python SDK alibabacloud_hbr20170908, with its typed models and both signatures."""

from alibabacloud_hbr20170908 import models
from alibabacloud_hbr20170908.client import Client
from alibabacloud_tea_openapi import utils_models as openapi_models
from darabonba.exceptions import DaraException

from ..signing import ApiError

# `describe_backup_jobs_2` by `describebackupjobs2`: the SDK has its own idea of snake case.
_METHODS = {name.replace("_", ""): name for name in dir(Client)}


class SdkCaller:
    def __init__(self, credentials, signature_algorithm=None, **tokens):
        keys = {"access_key_id": credentials["AccessKeyId"], "access_key_secret": credentials["AccessKeySecret"]}
        if "bearer_token" in tokens:
            keys = {}  # with a key the SDK would sign with it and leave the token out
        config = openapi_models.Config(
            endpoint=credentials["Endpoint"].split("//")[1].rstrip("/"),
            protocol="http",
            region_id=credentials["RegionId"],
            signature_algorithm=signature_algorithm,
            **keys,
            **tokens,
        )
        self.client = Client(config)

    def call(self, action, parameters=None):
        method = getattr(self.client, _METHODS[action.lower()])
        request = getattr(models, f"{action}Request", None)
        try:
            answer = method(request().from_map(parameters or {})) if request else method()
        except DaraException as error:
            raise ApiError(error.code, getattr(error, "status_code", None), error.message) from error
        assert answer.status_code == 200, answer
        return answer.body.to_map()

    def close(self):
        pass
