"""Every field of the answers, as they are on the wire: names, JSON types, presence."""

import csv
import io
import time
import urllib.error
import urllib.request

import pytest

from harness import contract
from harness.contract import CONTRACT, FOREIGN_JOB_FIELDS, JOB_FIELDS, SERVED, check_response
from harness.programs import Trees
from harness.signing import ApiError
from harness.waiting import wait_for


@pytest.fixture(scope="module")
def done(service, module_folder):
    """One finished backup with all that a plan can say, and one finished restore."""
    source = Trees.small(module_folder / "source")
    Trees.random_file(source / "data.bin", 3_000_000, 5)
    (source / "left-out").write_text("no")
    vault_id = service.vault("contract", Description="all fields")
    job = service.backup(
        vault_id,
        [source],
        Include='["*.bin","file-*"]',
        Exclude='["left-out"]',
        SpeedLimit="0:24:51200",
        Options='{"UseVSS":false}',
    )
    snapshot = service.snapshot_of(vault_id, job["JobId"])
    restored = service.restore(vault_id, snapshot, module_folder / "restored")
    return {"vault_id": vault_id, "job": job, "snapshot": snapshot, "restore": restored, "source": source}


def test_the_check_finds_wrong_responses():
    contract.self_test()


def test_a_finished_job_has_every_field(service, done):
    job = done["job"]
    wanted = JOB_FIELDS | {"Include", "Exclude", "SpeedLimit"}
    assert wanted <= set(job), sorted(wanted - set(job))
    assert not [name for name in FOREIGN_JOB_FIELDS if job.get(name)], job
    assert job["Options"] == '{"UseVSS":false}' and job["Include"] == '["*.bin","file-*"]'
    assert job["SourceType"] == "ECS_FILE" and job["BackupType"] == "COMPLETE"
    assert job["ClientId"].startswith("c-") and job["InstanceId"].startswith("i-")
    assert job["JobId"].startswith("job-") and job["PlanId"].startswith("plan-") and job["VaultId"].startswith("v-")
    assert job["FilesTotal"] == job["FilesDone"] == job["ActualFiles"] == 6, job
    assert job["ItemsTotal"] == job["ItemsDone"] >= 6 and job["ActualItems"] >= 6, job
    assert job["BytesTotal"] >= 3_000_000 and 0 < job["ActualBytes"] < job["BytesTotal"] + 2_000_000, job
    assert isinstance(job["Speed"], int) and job["Speed"] >= 0


def test_an_unchanged_backup_reads_and_stores_almost_nothing(service, done):
    again = service.wait_job(service.execute(done["job"]["PlanId"]))
    assert again["Status"] == "COMPLETE" and again["BytesTotal"] == done["job"]["BytesTotal"]
    assert again["ActualBytes"] < 100_000, again


def test_every_answer_is_of_the_contract(service, done):
    vault_id, job, snapshot = done["vault_id"], done["job"], done["snapshot"]
    plan = {"PlanId": job["PlanId"], "VaultId": vault_id, "SourceType": "ECS_FILE"}
    by_vault = [{"field": "VaultId", "value": vault_id, "operation": "MATCH_TERM"}]
    calls = [
        ("DescribeRegions", {}),
        ("DescribeVaults", {"VaultId": vault_id}),
        ("UpdateVault", {"VaultId": vault_id, "VaultName": "renamed", "Description": "new"}),
        ("DescribeBackupClients", {"ClientType": "ECS_CLIENT"}),
        ("DescribeBackupPlans", {"SourceType": "ECS_FILE"}),
        ("UpdateBackupPlan", {**plan, "PlanName": "renamed plan"}),
        ("DisableBackupPlan", plan),
        ("EnableBackupPlan", plan),
        ("DescribeBackupJobs2", {}),
        ("SearchHistoricalSnapshots", {"SourceType": "ECS_FILE", "Query": by_vault}),
        ("SearchHistoricalSnapshots", {"SourceType": "ECS_FILE", "Query": by_vault, "Limit": 0}),
        ("BrowseFiles", {"VaultId": vault_id, "SnapshotHash": snapshot["SnapshotHash"], "AbsolutePath": "/"}),
        ("DescribeRestoreJobs2", {"RestoreType": "ECS_FILE"}),
    ]
    for action, parameters in calls:
        check_response(action, service.call(action, **parameters))


def test_snapshots_say_what_the_job_said(service, done):
    job, snapshot = done["job"], done["snapshot"]
    for name in (
        "JobId",
        "VaultId",
        "InstanceId",
        "ClientId",
        "SourceType",
        "BytesTotal",
        "ItemsTotal",
        "PlanId",
        "Status",
    ):
        if name in snapshot or name in ("JobId", "VaultId", "SourceType", "Status"):
            assert snapshot[name] == job[name], name
    assert snapshot["SnapshotId"].startswith("s-") and len(snapshot["SnapshotHash"]) == 64
    assert snapshot["Paths"] == {"Path": [str(done["source"])]}
    assert job["StartTime"] - 1 <= snapshot["CreatedTime"] <= time.time() + 1


def test_restore_jobs_say_where_and_what(service, done):
    restored = done["restore"]
    assert restored["RestoreId"].startswith("r-") and restored["Progress"] == 10000
    assert restored["SnapshotHash"] == done["snapshot"]["SnapshotHash"]
    assert restored["VaultId"] == done["vault_id"] and restored["RestoreType"] == "ECS_FILE"
    assert restored["CreatedTime"] <= restored["CompleteTime"]


def test_actions_that_hbr_has_and_we_do_not_serve_yet(service):
    for action in sorted(set(CONTRACT) - set(SERVED)):
        with pytest.raises(ApiError) as failure:
            service.call(action)
        assert failure.value.http_status == 400, (action, failure.value)
        assert failure.value.code == "OperationDenied.NotSupported", (action, failure.value)


def test_open_hbr_service_is_open(service):
    """The first start opened it, or the first call does; the second call says so."""
    for _ in range(2):
        try:
            check_response("OpenHbrService", service.call("OpenHbrService"))
        except ApiError as failure:
            assert failure.code == "ORDER.OPEND" and failure.http_status == 400
    with pytest.raises(ApiError) as failure:
        service.call("OpenHbrService")
    assert failure.value.code == "ORDER.OPEND"


def test_empty_lists_are_there(service):
    nothing = [{"Key": "VaultId", "Operator": "EQUAL", "Values": ["v-0000000000000000none"]}]
    assert service.call("DescribeBackupJobs2", Filters=nothing)["BackupJobs"] == {"BackupJob": []}
    assert service.call("DescribeRestoreJobs2", Filters=nothing)["RestoreJobs"] == {"RestoreJob": []}
    assert service.call("DescribeVaults", VaultId="v-0000000000000000none")["Vaults"] == {"Vault": []}
    plans = service.call("DescribeBackupPlans", Filters=[{"Key": "planId", "Values": ["plan-none"]}])
    assert plans["BackupPlans"] == {"BackupPlan": []}


def test_speed_limits_are_obeyed(service, module_folder):
    """4096 KB/s for 16 MB of data that does not compress: four seconds, less what a first burst may take."""
    source = Trees.random_files(module_folder / "limited", 16, seed=77)
    vault_id = service.vault("limited")
    job = service.backup(vault_id, [source], name="limited", SpeedLimit="0:24:4096")
    assert job["CompleteTime"] - job["StartTime"] >= 2, job
    assert 0 < job["Speed"] < 8192, job


def test_a_deleted_vault_takes_its_data_with_it(service, module_folder):
    vault_id = service.vault("deleted")
    storage = service.data_dir / "vaults" / vault_id
    job = service.backup(vault_id, [Trees.small(module_folder / "for-deletion")], name="deleted")
    assert (storage / "config").is_file()
    service.call("DeleteVault", VaultId=vault_id)

    def is_gone():
        try:
            return not (storage / "config").exists() and not list(storage.glob("data/*/*"))
        except FileNotFoundError:
            return False  # a folder went between two looks

    wait_for("the data to be gone", is_gone)
    plans = service.call("DescribeBackupPlans", Filters=[{"Key": "vaultId", "Values": [vault_id]}])
    assert plans["TotalCount"] == 0
    query = [{"Key": "JobId", "Operator": "EQUAL", "Values": [job["JobId"]]}]
    assert service.call("DescribeBackupJobs2", Filters=query)["TotalCount"] == 0


def test_a_deleted_vault_elsewhere_leaves_its_data_to_the_operator(service, module_folder):
    """A folder that an operator named may be a repository that others use: it is never deleted by the service."""
    storage = module_folder / "elsewhere"
    vault_id = service.vault("elsewhere", StorageUrl=str(storage))
    service.backup(vault_id, [Trees.small(module_folder / "for-elsewhere")], name="elsewhere")
    service.call("DeleteVault", VaultId=vault_id)
    assert service.call("DescribeVaults", VaultId=vault_id)["TotalCount"] == 0
    other = service.vault("after elsewhere")  # a task of the same agent, done after the deletion's
    assert other and (storage / "config").is_file() and list(storage.glob("data/*/*"))


def test_a_deleted_plan_keeps_its_snapshots(service, module_folder):
    vault_id = service.vault("kept")
    job = service.backup(vault_id, [Trees.small(module_folder / "kept")], name="kept")
    service.call("DeleteBackupPlan", PlanId=job["PlanId"], VaultId=vault_id, SourceType="ECS_FILE")
    assert [snapshot["JobId"] for snapshot in service.snapshots(vault_id)] == [job["JobId"]]


def test_browsing_page_by_page(service, module_folder):
    source = Trees.small(module_folder / "wide", files=50)
    vault_id = service.vault("wide")
    job = service.backup(vault_id, [source], name="wide")
    snapshot = service.snapshot_of(vault_id, job["JobId"])
    parameters = {"VaultId": vault_id, "SnapshotHash": snapshot["SnapshotHash"], "MaxResults": 10}
    names, token = [], None
    while True:
        more = {"NextToken": token} if token else {}
        page = check_response(
            "BrowseFiles", service.call("BrowseFiles", AbsolutePath=str(source), **parameters, **more)
        )
        names += [node["Name"] for node in page["Nodes"]["Node"]]
        token = page.get("NextToken")
        if not token:
            break
    assert sorted(names) == sorted(path.name for path in source.iterdir())
    [sub] = [node for node in page_of(service, parameters, source) if node["Name"] == "sub"]
    inside = service.call("BrowseFiles", Path=sub["Subtree"], **{**parameters, "MaxResults": 100})
    assert sorted(node["Name"] for node in inside["Nodes"]["Node"]) == sorted(
        path.name for path in (source / "sub").iterdir()
    )


def page_of(service, parameters, source):
    return service.call("BrowseFiles", AbsolutePath=str(source), **{**parameters, "MaxResults": 100})["Nodes"]["Node"]


def test_the_list_of_what_a_job_missed_can_be_downloaded(service, module_folder):
    """DescribeBackupJobs2 tells a key, GetTempFileDownloadLink a link, and the link needs no key."""
    source = Trees.small(module_folder / "partly")
    missing = module_folder / 'not "there", at all'
    vault_id = service.vault("partly")
    job = service.backup(vault_id, [source, missing], name="partly", status="PARTIAL_COMPLETE")
    key = job["Report"]["FailedFiles"]
    url = check_response("GetTempFileDownloadLink", service.call("GetTempFileDownloadLink", TempFileKey=key))["Url"]
    with urllib.request.urlopen(url, timeout=30) as answer:
        assert answer.headers["content-type"].startswith("text/csv")
        rows = list(csv.DictReader(io.StringIO(answer.read().decode())))
    assert str(missing) in [row["path"] for row in rows], rows
    for wrong in (key.replace("job-", "job-x"), "temp/x", key.replace("temp/", "temp/1"), "../" + key):
        with pytest.raises(ApiError) as failure:
            service.call("GetTempFileDownloadLink", TempFileKey=wrong)
        assert failure.value.code == "TempFileNotExist", failure.value
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(url.replace("/temp/", "/temp/0"), timeout=30)
    assert refused.value.code == 404
