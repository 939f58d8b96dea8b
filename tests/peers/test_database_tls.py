"""TLS on the way to PostgreSQL: who is trusted, what is refused, and that a whole service works over it."""

import os
import pathlib
import subprocess
import uuid

import pytest
from harness.certificates import made_with_openssl
from harness.programs import Trees


def psql(sql):
    url = os.environ["STRONGROOM_TEST_POSTGRES"]
    command = ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", url, "-c", sql]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def trusted(module_folder):
    """Gives the server a certificate for `localhost`. The CA's file."""
    made = made_with_openssl(module_folder / "ca", "localhost")
    data = pathlib.Path(psql("SHOW data_directory"))
    owner = data.stat()
    for source, name in (("cert.pem", "server.crt"), ("key.pem", "server.key")):
        place = data / name
        place.write_bytes((made / source).read_bytes())
        place.chmod(0o600)
        os.chown(place, owner.st_uid, owner.st_gid)
    psql("ALTER SYSTEM SET ssl = on")
    psql("SELECT pg_reload_conf()")
    return made / "ca.pem"


@pytest.fixture
def database():
    name = f"peers_{uuid.uuid4().hex}"
    psql(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    yield name
    psql(f"DROP DATABASE {name} WITH (FORCE)")


def url(database, query, host="localhost"):
    port = os.environ["STRONGROOM_TEST_POSTGRES"].rsplit("/", 1)[0].rsplit(":", 1)[1]
    return f"postgres://strongroom@{host}:{port}/{database}?{query}"


def test_a_service_works_over_tls_alone(fresh, folder, trusted, database):
    fresh.start("--catalog", url(database, f"sslmode=verify-full&sslrootcert={trusted}"))
    fresh.backup(fresh.vault(), [Trees.small(folder / "source")])
    sessions = psql(
        "SELECT count(*), count(*) FILTER (WHERE ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
        f"WHERE datname = '{database}' AND application_name = 'strongroom'"
    )
    all_of_them, encrypted = map(int, sessions.split("|"))
    assert all_of_them == encrypted > 0, sessions


@pytest.mark.parametrize(
    "query, host, said",
    [
        ("sslmode=verify-full&sslrootcert={ca}", "127.0.0.1", "not valid for name"),
        ("sslmode=verify-full&sslrootcert={other}", "localhost", "invalid peer certificate"),
        ("sslmode=verify-full", "localhost", "sslrootcert=FILE"),
        ("sslmode=prefer", "localhost", "only if it can"),
        ("", "db.example", "is another host"),
        ("sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "localhost", "/nowhere/ca.pem"),
    ],
)
def test_what_is_not_safe_does_not_start(fresh, folder, trusted, database, query, host, said):
    other = made_with_openssl(folder / "other", "localhost") / "ca.pem"
    place = url(database, query.format(ca=trusted, other=other), host)
    process = fresh.spawn("--catalog", place)
    assert process.wait(timeout=60) not in (0, None)
    assert said in fresh.log(), fresh.log()
