"""TLS: certificates made by the service and given to it, who trusts them, and what is refused without."""

import http.client
import json
import os
import pathlib
import socket
import ssl
import subprocess
import urllib.request

import pytest
from alibabacloud_hbr20170908 import models
from alibabacloud_hbr20170908.client import Client
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.runtime import RuntimeOptions

from harness import programs
from harness.callers import CALLERS
from harness.contract import check_response
from harness.programs import Trees
from harness.certificates import made_with_openssl
from harness.signing import ApiError, SignedCaller
from harness.waiting import wait_for


def port_of(service):
    return int(service.credentials()["Endpoint"].rsplit(":", 1)[1])


def shown_to(port, ca_file, name, address="127.0.0.1"):
    """The subject of the certificate that a client gets who asks for `name` and trusts `ca_file`."""
    context = ssl.create_default_context(cafile=ca_file)
    with socket.create_connection((address, port), timeout=10) as plain:
        with context.wrap_socket(plain, server_hostname=name) as stream:
            return dict(pair[0] for pair in stream.getpeercert()["subject"])["commonName"]


@pytest.fixture(scope="module")
def tls(module_folder):
    """A service with a certificate of its own, on all addresses."""
    from harness.service import Service

    started = Service(module_folder / "tls")
    started.listen = "0.0.0.0:0"
    try:
        yield started.start("--tls", "auto", "--tls-name", "backup.test")
    finally:
        started.close()


def test_plain_http_for_the_network_is_refused_unless_it_is_asked_for(fresh):
    fresh.listen = "0.0.0.0:0"
    assert fresh.spawn().wait(timeout=30) == 1
    log = fresh.log()
    assert "--tls auto" in log and "--insecure" in log, log
    assert not fresh.data_dir.exists(), "a refused start leaves nothing"
    fresh.start("--insecure")
    assert fresh.credentials()["Endpoint"].startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    "flags",
    [
        ["--tls-cert", "c"],
        ["--tls-key", "k"],
        ["--tls", "auto", "--insecure"],
        ["--tls", "auto", "--tls-cert", "c", "--tls-key", "k"],
        ["--tls-name", "n"],
    ],
)
def test_flags_that_contradict_each_other_are_wrong_usage(fresh, flags):
    assert fresh.spawn(*flags).wait(timeout=30) == 2


def test_a_whole_backup_over_tls(tls, folder):
    credentials = tls.credentials()
    assert credentials["Endpoint"].startswith("https://127.0.0.1:"), credentials
    Trees.small(folder / "tree")
    vault = tls.vault("over-tls")
    job = tls.backup(vault, [folder / "tree"], name="over-tls")
    assert job["JobId"] in tls.cli("jobs").stdout
    snapshot = tls.snapshot_of(vault, job["JobId"])
    tls.restore(vault, snapshot, folder / "out")
    # What is secret stays so: key and folder are for the owner alone.
    assert os.stat(tls.data_dir / "tls").st_mode & 0o777 == 0o700
    assert os.stat(tls.data_dir / "tls/ca.key").st_mode & 0o777 == 0o600


def test_every_name_of_the_host_is_in_the_certificate(tls):
    ca = tls.data_dir / "tls/ca.pem"
    for name in ["localhost", "127.0.0.1", "::1", "backup.test", socket.gethostname()]:
        assert shown_to(port_of(tls), ca, name) == "Strongroom"
    with pytest.raises(ssl.SSLCertVerificationError):
        shown_to(port_of(tls), ca, "elsewhere.test")
    with pytest.raises(ssl.SSLCertVerificationError):
        shown_to(port_of(tls), None, "localhost")


@pytest.mark.parametrize("algorithm", ["v2", "ACS3-HMAC-SHA256"])
def test_the_official_sdk_speaks_https(tls, algorithm):
    credentials = tls.credentials()
    config = Config(
        access_key_id=credentials["AccessKeyId"],
        access_key_secret=credentials["AccessKeySecret"],
        endpoint=credentials["Endpoint"].split("//")[1],
        protocol="HTTPS",
        region_id="cn-hangzhou",
        signature_algorithm=algorithm,
        ca=str(tls.data_dir / "tls/ca.pem"),
    )
    answer = Client(config).describe_vaults_with_options(
        models.DescribeVaultsRequest(), RuntimeOptions(ca=str(tls.data_dir / "tls/ca.pem"))
    )
    assert answer.status_code == 200 and answer.body.success is True


@pytest.mark.parametrize("name", [name for name in sorted(CALLERS) if "pop-core" in name or "openapi" in name])
def test_clients_of_node_speak_https(tls, monkeypatch, name):
    """With the CA where Node looks for further ones; without it they refuse the service."""
    if name == "pop-core-post":
        monkeypatch.delenv("NODE_EXTRA_CA_CERTS", raising=False)
        stranger = CALLERS[name](tls.credentials())
        with pytest.raises(ApiError) as failure:
            stranger.call("DescribeRegions", {})
        assert failure.value.http_status is None, failure.value
        stranger.close()
    monkeypatch.setenv("NODE_EXTRA_CA_CERTS", str(tls.data_dir / "tls/ca.pem"))
    caller = CALLERS[name](tls.credentials())
    try:
        check_response("DescribeRegions", caller.call("DescribeRegions", {}))
    finally:
        caller.close()


def test_what_the_host_trusts_is_trusted(tls, folder):
    """SSL_CERT_FILE takes the place of the host's store, as it does for other programs."""
    credentials = tls.credentials()
    elsewhere = {
        "STRONGROOM_ENDPOINT": credentials["Endpoint"],
        "ALIBABA_CLOUD_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": credentials["AccessKeySecret"],
    }
    (folder / "none").mkdir()
    elsewhere["SSL_CERT_DIR"] = str(folder / "none")
    ca = tls.data_dir / "tls/ca.pem"
    tls.cli("vault", "list", env={**elsewhere, "SSL_CERT_FILE": str(ca)})
    other = made_with_openssl(folder / "other", "other.test") / "ca.pem"
    assert "certificate" in tls.cli("vault", "list", status=1, env={**elsewhere, "SSL_CERT_FILE": str(other)}).stderr
    told = tls.cli("vault", "list", status=1, env={**elsewhere, "SSL_CERT_FILE": str(folder / "none.pem")}).stderr
    assert "SSL_CERT_FILE" in told, told
    # What is named for this service counts before it.
    tls.cli("--cacert", ca, "vault", "list", env={**elsewhere, "SSL_CERT_FILE": str(other)})


def test_clients_that_do_not_know_the_ca_are_told_what_to_do(tls, folder):
    credentials = tls.credentials()
    elsewhere = {
        "STRONGROOM_ENDPOINT": credentials["Endpoint"],
        "ALIBABA_CLOUD_ACCESS_KEY_ID": credentials["AccessKeyId"],
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": credentials["AccessKeySecret"],
    }
    refused = tls.cli("vault", "list", status=1, env=elsewhere).stderr
    assert "certificate" in refused and "STRONGROOM_CACERT" in refused, refused
    other = made_with_openssl(folder / "other", "other.test") / "ca.pem"
    assert "certificate" in tls.cli("--cacert", other, "vault", "list", status=1, env=elsewhere).stderr
    ca = tls.data_dir / "tls/ca.pem"
    tls.cli("--cacert", ca, "vault", "list", env=elsewhere)
    tls.cli("vault", "list", env={**elsewhere, "STRONGROOM_CACERT": str(ca)})
    missing = tls.cli("--cacert", folder / "none.pem", "vault", "list", status=1, env=elsewhere).stderr
    assert "none.pem" in missing
    (folder / "text.pem").write_text("not a certificate")
    assert "text.pem" in tls.cli("--cacert", folder / "text.pem", "vault", "list", status=1, env=elsewhere).stderr


def test_an_agent_joins_over_tls(tls, folder):
    credentials = tls.credentials()
    process = subprocess.Popen(
        [programs.binary(), "agent", "--data-dir", str(folder / "agent")],
        env={
            **tls.environment(),
            "STRONGROOM_ENDPOINT": credentials["Endpoint"],
            "STRONGROOM_CACERT": credentials["CaFile"],
            "ALIBABA_CLOUD_ACCESS_KEY_ID": credentials["AccessKeyId"],
            "ALIBABA_CLOUD_ACCESS_KEY_SECRET": credentials["AccessKeySecret"],
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        # The service knows this host already, so that the agent is refused as its twin: by the service, not by TLS.
        told = []
        for line in process.stdout:
            told.append(line)
            if "works for https://" in line or "ClientIsRunning" in line:
                break
        else:
            raise AssertionError(told)
    finally:
        process.kill()
        process.wait()


def test_plain_requests_to_a_tls_port_get_no_answer(tls):
    connection = http.client.HTTPConnection("127.0.0.1", port_of(tls), timeout=10)
    with pytest.raises((http.client.HTTPException, OSError)):
        connection.request("POST", "/")
        connection.getresponse()


def test_silent_handshakes_hold_nobody_up(tls):
    silent = [socket.create_connection(("127.0.0.1", port_of(tls)), timeout=10) for _ in range(100)]
    try:
        tls.call("DescribeRegions")
    finally:
        for connection in silent:
            connection.close()


def test_old_protocols_are_refused(tls):
    context = ssl.create_default_context(cafile=tls.data_dir / "tls/ca.pem")
    # Whatever this host thinks of them, the client offers them: it is the service that refuses.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="(?i)alert"):
        with socket.create_connection(("127.0.0.1", port_of(tls)), timeout=10) as plain:
            context.wrap_socket(plain, server_hostname="localhost")


def test_download_links_are_https(tls, folder):
    Trees.small(folder / "tree")
    vault = tls.vault("links")
    job = tls.backup(vault, [folder / "tree", folder / "missing"], name="links", status="PARTIAL_COMPLETE")
    key = json.loads(job["Report"])["FailedFiles"] if isinstance(job.get("Report"), str) else job["Report"]["FailedFiles"]
    url = tls.call("GetTempFileDownloadLink", TempFileKey=key)["Url"]
    assert url.startswith("https://"), url
    context = ssl.create_default_context(cafile=tls.data_dir / "tls/ca.pem")
    assert b"missing" in urllib.request.urlopen(url, context=context).read()


def test_the_ca_stays_over_a_restart(fresh):
    fresh.start("--tls", "auto")
    ca = (fresh.data_dir / "tls/ca.pem").read_bytes()
    assert fresh.stop() == 0
    fresh.start("--tls", "auto")
    assert (fresh.data_dir / "tls/ca.pem").read_bytes() == ca
    # And back to plain HTTP on loopback: the commands follow.
    assert fresh.stop() == 0
    fresh.start()
    assert "CaFile" not in fresh.credentials()
    fresh.cli("vault", "list")


def test_a_given_certificate_is_shown_and_read_again_when_it_changes(fresh, folder):
    first = made_with_openssl(folder / "first", "backup.test")
    second = made_with_openssl(folder / "second", "backup.test")
    used = folder / "used"
    used.mkdir()

    def use(source, *names):
        for name in names:
            (used / f"{name}.new").write_bytes((source / name).read_bytes())
            (used / f"{name}.new").rename(used / name)

    use(first, "cert.pem", "key.pem")
    fresh.start("--tls-cert", used / "cert.pem", "--tls-key", used / "key.pem")
    port = port_of(fresh)
    assert shown_to(port, first / "ca.pem", "backup.test") == "backup.test"
    # The commands and the agent of this host need no name.
    fresh.cli("vault", "list")
    wait_for("the agent to be there", lambda: fresh.call("DescribeBackupClients", ClientType="ECS_CLIENT")["Clients"])
    with pytest.raises(ssl.SSLCertVerificationError):
        shown_to(port, first / "ca.pem", "127.0.0.1")

    # Half of a change: the former pair stays.
    use(second, "cert.pem")
    wait_for("the half change to be told", lambda: "cannot be used; the former one stays" in fresh.log(), 30)
    assert shown_to(port, first / "ca.pem", "backup.test") == "backup.test"
    use(second, "key.pem")

    def is_new():
        try:
            return shown_to(port, second / "ca.pem", "backup.test") == "backup.test"
        except ssl.SSLCertVerificationError:
            return False

    wait_for("the new certificate", is_new, 30)
    with pytest.raises(ssl.SSLCertVerificationError):
        shown_to(port, first / "ca.pem", "backup.test")


def test_a_certificate_that_cannot_be_used_ends_the_start(fresh, folder):
    one = made_with_openssl(folder / "one", "a.test")
    two = made_with_openssl(folder / "two", "a.test")
    for cert, key, named in [
        (one / "cert.pem", two / "key.pem", "key.pem"),
        (one / "missing.pem", one / "key.pem", "missing.pem"),
        (one / "cert.pem", one / "ext", "ext"),
    ]:
        assert fresh.spawn("--tls-cert", cert, "--tls-key", key).wait(timeout=30) == 1
        assert named in fresh.log().splitlines()[-1] + fresh.log(), fresh.log()


def test_secrets_of_tls_are_in_no_log(tls):
    key = pathlib.Path(tls.data_dir / "tls/ca.key").read_text()
    body = [line for line in key.splitlines() if "KEY" not in line]
    log = tls.log_path.read_text(errors="replace")
    assert not any(line in log for line in body)
    SignedCaller(tls.credentials()).call("DescribeRegions")
