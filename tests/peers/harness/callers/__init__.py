"""Every real client behind one call: `call(action, parameters)` returns the body or raises `ApiError`.

Each speaks as its users write it: typed request models, setters, or maps. The parameters are named as in the contract;
lists and objects are given as such.
"""

from .legacy import LegacyCaller
from .sdk import SdkCaller
from .worker import NodeOpenApiCaller, PopCoreCaller, TeaRpcCaller

CALLERS = {
    "sdk-v3": lambda credentials: SdkCaller(credentials),
    "sdk-v1": lambda credentials: SdkCaller(credentials, signature_algorithm="v2"),
    "legacy-post": lambda credentials: LegacyCaller(credentials, "POST"),
    "legacy-get": lambda credentials: LegacyCaller(credentials, "GET"),
    "tea-rpc": lambda credentials: TeaRpcCaller(credentials),
    "pop-core-post": lambda credentials: PopCoreCaller(credentials, "POST"),
    "pop-core-get": lambda credentials: PopCoreCaller(credentials, "GET"),
    "node-openapi": lambda credentials: NodeOpenApiCaller(credentials),
}
