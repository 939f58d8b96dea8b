"""The contract of the API as data, and the check of a response against it."""

import json
import pathlib

PATH = pathlib.Path(__file__).parents[3] / "crates/api/contract/hbr-2017-09-08.json"
_GOLDEN = json.loads(PATH.read_text())
CONTRACT = _GOLDEN["actions"]
# Two actions that no SDK has, and that Terraform sends.
EXTRA = {name: action for name, action in _GOLDEN["extra_actions"].items() if isinstance(action, dict)}


def states():
    """Action to `served` or `refused`, from the page that users read."""
    page = (pathlib.Path(__file__).parents[3] / "docs/api-coverage.md").read_text()
    rows = [line.split("|") for line in page.split("## Extensions")[0].splitlines() if line.startswith("| ")]
    return {row[1].strip(): row[2].strip().split(":")[0] for row in rows if row[1].strip() in {**CONTRACT, **EXTRA}}


SERVED = sorted(name for name, state in states().items() if state == "served")

# Fields that a finished job of source type ECS_FILE always has; the plan sets Include, Exclude and SpeedLimit or not.
JOB_FIELDS = {
    "JobId",
    "JobName",
    "Status",
    "SourceType",
    "VaultId",
    "PlanId",
    "BackupType",
    "Progress",
    "CreatedTime",
    "StartTime",
    "CompleteTime",
    "UpdatedTime",
    "ActualBytes",
    "BytesDone",
    "BytesTotal",
    "Speed",
    "ClientId",
    "InstanceId",
    "Options",
    "Paths",
    "ItemsTotal",
    "ItemsDone",
    "ActualItems",
    "FilesTotal",
    "FilesDone",
    "ActualFiles",
}
# Fields that belong to other source types: present never, or empty.
FOREIGN_JOB_FIELDS = {"Bucket", "Prefix", "FileSystemId", "CreateTime", "InstanceName", "TableName", "Identifier"}

_INTEGERS = {"int32": 31, "int64": 63, "integer": 63}


def check_response(action, body):
    """Every field is one of the contract and has its JSON type. Returns the body."""
    problems = []
    _check_fields(body, CONTRACT[action]["response"], action, problems)
    if action != "OpenHbrService":
        for name in ("RequestId", "Success", "Code", "Message"):
            if name not in body:
                problems.append(f"{action}: {name} is missing")
    assert not problems, "\n".join(problems)
    return body


def _check_fields(value, fields, place, problems):
    known = {field["name"]: field for field in fields}
    for name, item in value.items():
        if name not in known:
            problems.append(f"{place}.{name} is not in the contract")
        else:
            _check_value(item, known[name], f"{place}.{name}", problems)


def _check_value(value, field, place, problems):
    kind = field["type"]
    if kind == "string":
        good = isinstance(value, str)
    elif kind == "boolean":
        good = isinstance(value, bool)
    elif kind in _INTEGERS:
        good = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2 ** _INTEGERS[kind]
    elif kind.startswith("array<"):
        good = isinstance(value, list)
        for index, item in enumerate(value if good else []):
            _check_value(item, {**field, "type": kind[6:-1]}, f"{place}[{index}]", problems)
    elif kind == "object":
        good = isinstance(value, dict)
        if good:
            _check_fields(value, field.get("fields", []), place, problems)
    elif kind == "any":
        good = True
    else:
        good = isinstance(value, dict) and kind.startswith("map<")
    if not good:
        problems.append(f"{place} is {value!r}, not {kind}")


def response_members(action):
    """Paths of all members of an answer, nested ones too: `BackupJobs.BackupJob[].Paths.Path[]`."""

    def walk(fields, place):
        for field in fields:
            kind, path = field["type"], f"{place}.{field['name']}"
            while kind.startswith("array<"):
                kind, path = kind[6:-1], path + "[]"
            yield path.removeprefix(".")
            yield from walk(field.get("fields", []), path)

    return set(walk(CONTRACT[action]["response"], ""))


def members_of(body):
    """The same paths, of an answer."""

    def walk(value, place):
        if isinstance(value, dict):
            for name, item in value.items():
                path = f"{place}.{name}"
                inner = item
                while isinstance(inner, list):
                    path, inner = path + "[]", inner[0] if inner else None
                yield path.removeprefix(".")
                for one in item if isinstance(item, list) else [item]:
                    yield from walk(one, path)

    return set(walk(body, ""))


def parameters_in(action, place, parameters):
    """The part of the parameters that SDKs of the new kind put into `query` or `body`."""
    places = {field["name"]: field["in"] for field in CONTRACT[action]["request"]}
    return {name: value for name, value in parameters.items() if places.get(name, "query") == place}


def self_test():
    """The check finds what it is made for."""
    good = {
        "RequestId": "X",
        "Success": True,
        "Code": "200",
        "Message": "successful",
        "TotalCount": 0,
        "BackupJobs": {"BackupJob": [{"Progress": 1, "Paths": {"Path": ["/a"]}}]},
    }
    check_response("DescribeBackupJobs2", good)
    for change in (
        {"TotalCount": "0"},
        {"BackupJobs": []},
        {"Code": 200},
        {"Extra": 1},
        {"BackupJobs": {"BackupJob": [{"Progress": "1"}]}},
        {"BackupJobs": {"BackupJob": [{"Paths": ["/a"]}]}},
    ):
        try:
            check_response("DescribeBackupJobs2", {**good, **change})
        except AssertionError:
            continue
        raise AssertionError(f"a wrong response passes: {change}")
