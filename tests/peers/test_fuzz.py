"""Random parameters against the contract: types, sizes, encodings, nesting. Whatever comes in, no answer is a 5xx, and the
service goes on.

A failure names its seed; `STRONGROOM_TEST_SEED` repeats it, `STRONGROOM_TEST_FUZZ` sets the number of requests.
"""

import json
import os
import random
import time

import pytest
from harness.contract import CONTRACT, EXTRA
from harness.service import Service
from harness.signing import ApiError, checked, flatten, form, send, v3_request

ALL = {**CONTRACT, **EXTRA}
REQUESTS = int(os.environ.get("STRONGROOM_TEST_FUZZ", "3000"))
TEXTS = [
    "", " ", "0", "-1", "1", "99", "100", "101", "2147483647", "2147483648", "-2147483649", "9223372036854775807",
    "9223372036854775808", "1e9", "1.5", "NaN", "true", "false", "True", "null", "[]", "{}", "[[]]", '[""]', "[null]",
    '{"a":1}', '[{"a":[1,2]}]', '"', "[", "{", "'; DROP TABLE jobs; --", "%00", "\x00", "\x7f", "\ufeff", "日本語", "🦀" * 40,
    "../../etc/passwd", "/", "//", "/tmp/..", "a" * 300, "a" * 20_000, "[" * 100, '{"a":' * 40 + "1" + "}" * 40,
    "ECS_FILE", "OSS", "UDM_ECS", "STANDARD", "BASIC", "ASCEND", "SELF_ACCOUNT", "CROSS_ACCOUNT", "COMPLETE",
    "I|0|P1D", "I|1893456000|PT1H", "C|0|0 0 2 ? * *", "C|0|0 0 2 L * ?", "C|0|* * * * * ?", "C|0|0 0 2 31 2 ?",
    "I|99999999999|P100Y", "0:24:5120", "0:12:1|12:24:2", "25:26:1", "v-1", "plan-1", "job-1", "c-1", "i-1", "s-1", "r-1",
    "t-1", "po-1", "pr-1", "ds-1", "cc-1", "0" * 64, "1700000000.x", ".", "1700000000.", "x.y.z", "1ca.5.s-1",
    '["/a","/b"]', '["relative"]', '{"conflictPolicy":"OVERWRITE_EXISTING"}', '{"UseVSS":true}', '{"path":"/"}',
    '[{"field":"VaultId","value":"v-1","operation":"MATCH_TERM"}]',
    '[{"field":"CompleteTime","value":1,"value2":2,"operation":"BETWEEN"}]',
    '[{"field":"VaultId","value":["v-1"],"operation":"IN"},{"field":"Status","value":1,"operation":"NOT_IN"}]',
]  # fmt: skip


class FormCaller:
    """Every parameter in a signed form body: a URL could not carry them."""

    def __init__(self, credentials):
        self.key, self.secret = credentials["AccessKeyId"], credentials["AccessKeySecret"]
        self.host = credentials["Endpoint"].split("//")[1].rstrip("/")

    def call(self, action, parameters):
        body = form(flatten(parameters)).encode()
        url, headers = v3_request(self.key, self.secret, self.host, action, {}, body=body)
        status, _, answer = send(self.host, "POST", url, headers, body)
        return checked(status, answer)


class Fuzzer:
    def __init__(self, seed, known):
        self.random = random.Random(seed)
        self.known = known
        # Every other request has wrong types in many places; the rest have few, and so get behind the contract.
        self.is_wild = True

    def text(self):
        choice = self.random.random()
        if choice < 0.65:
            return self.random.choice(TEXTS)
        if choice < 0.85:
            return self.random.choice(self.known)
        if choice < 0.95:
            return str(self.random.randint(-(2**65), 2**65))
        return "".join(chr(self.random.choice([0, 9, 10, 65, 124, 128, 233, 0x3042, 0x1F980])) for _ in range(12))

    def value(self, field, depth=0):
        """A value of the field's type, or of any other."""
        kind = field["type"]
        if self.random.random() < (0.25 if self.is_wild else 0.02) or depth > 3:
            return self.text()
        if kind.startswith("array<"):
            item = {**field, "type": kind[6:-1]}
            return [self.value(item, depth + 1) for _ in range(self.random.choice([0, 1, 1, 2, 5]))]
        if kind == "object":
            made = {
                inner["name"]: self.value(inner, depth + 1)
                for inner in field.get("fields", [])
                if self.random.random() < 0.6
            }
            # Members that there are not, also in other letters.
            if self.is_wild and self.random.random() < 0.05:
                made[self.random.choice([self.text()[:20] or "x", *(name.lower() for name in made), "0", "1.1"])] = self.text()
            return made
        if kind.startswith("map<"):
            return {self.text()[:20] or "x": self.text() for _ in range(2)}
        if kind in ("int32", "int64", "integer"):
            numbers = ["0", "1", "-1", "7", "10", "99", ""]
            return self.random.choice(numbers + ["2147483648", str(2**63), "x"] * self.is_wild)
        if kind == "boolean":
            return self.random.choice(["true", "false", ""] + ["yes", "1"] * self.is_wild)
        return self.text()

    def parameters(self, action):
        chosen = {}
        self.is_wild = not self.is_wild
        for field in ALL[action]["request"]:
            wanted = 0.95 if field.get("required") or field.get("required_meta") else 0.45
            if self.random.random() < wanted:
                value = self.value(field)
                # Lists and objects flat, or as JSON in one parameter: both are accepted everywhere.
                if not isinstance(value, str) and self.random.random() < 0.5:
                    value = json.dumps(value)
                chosen[field["name"]] = value
        if self.random.random() < 0.1:
            chosen[self.random.choice(["Extra", "Filters.x", "Path.99999", "Rules.1.1.1", "Tag.0.Key"])] = self.text()
        return chosen


@pytest.fixture(scope="module")
def service(module_folder):
    """A service that takes as many calls as there are: what is asked here is not how it refuses more."""
    started = Service(module_folder / "service")
    try:
        yield started.start("--rate-limit", "off")
    finally:
        started.close()


def test_random_parameters(service):
    seed = os.environ.get("STRONGROOM_TEST_SEED", str(time.time()))
    vault_id = service.vault("fuzzed")
    client = service.client()
    policy_rules = [{"RuleType": "BACKUP", "Schedule": "I|1893456000|P1D", "VaultId": vault_id}]
    policy_id = service.call("CreatePolicyV2", PolicyName="fuzzed", Rules=policy_rules)["PolicyId"]
    plan_id = service.plan(vault_id, ["/tmp/none"], name="fuzzed")
    known = [vault_id, client["ClientId"], client["InstanceId"], policy_id, plan_id, "cn-hangzhou", "vault", "client"]
    fuzzer = Fuzzer(seed, known)
    # One that may everything, and one whose policies are asked each time what the call is about.
    everything = {"Version": "1", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    service.call("CreateUser", UserName="fuzzed", PolicyDocument=json.dumps(everything))
    key = service.call("CreateKey", UserName="fuzzed")
    user = {name: key[name] for name in ("AccessKeyId", "AccessKeySecret")}
    callers = [FormCaller(service.credentials()), FormCaller({**service.credentials(), **user})]
    # Left out: it would end the vault of the other requests, and is called by the rest of the suite.
    actions = sorted(set(ALL) - {"DeleteVault", "CreateRestoreJob"}) + ["CreatePolicyV2", "CreatePolicyBindings"]
    answers = {}
    for number in range(REQUESTS):
        action = actions[number % len(actions)]
        parameters = fuzzer.parameters(action)
        caller = callers[number // len(actions) % 2]
        try:
            caller.call(action, parameters)
            status = 200
        except ApiError as failure:
            status = failure.http_status
            assert status < 500, (seed, action, parameters, failure, service.log())
        answers[status] = answers.get(status, 0) + 1
    assert service.process.poll() is None, (seed, service.log())
    assert "panicked" not in service.log(), (seed, service.log())
    assert caller.call("DescribeRegions", {})["Success"] is True
    print(f"fuzz requests: {REQUESTS}, 5xx answers: 0, by status: {answers}, seed {seed}")
    # Random requests that are all refused for their form would test nothing behind it.
    assert answers.get(200, 0) > REQUESTS / 20, answers
