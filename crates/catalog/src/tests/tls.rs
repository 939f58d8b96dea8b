//! Encrypted connections to a server with a certificate of the test's own CA.

use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use super::places::{Place, VARIABLE, administer};
use crate::conditions::first;
use crate::{Catalog, CatalogError, CatalogOptions, PlaceError, PostgresPlace};

/// A CA, as a file.
fn new_ca(path: &Path) -> Issuer<'static, KeyPair> {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let certificate = params.self_signed(&key).unwrap();
    std::fs::write(path, certificate.pem()).unwrap();
    Issuer::new(params, key)
}

/// Gives the server a certificate for `localhost`, and its address no name.
fn switch_on(issuer: &Issuer<'static, KeyPair>) {
    let url = std::env::var(VARIABLE).unwrap();
    let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
    let folder: String = client.query_one("SHOW data_directory", &[]).unwrap().get(0);
    let folder = PathBuf::from(folder);
    let owner = std::fs::metadata(&folder).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, issuer).unwrap();
    for (name, text) in [
        ("server.crt", certificate.pem()),
        ("server.key", key.serialize_pem()),
    ] {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        chown(&path, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    switch("on");
}

/// Switches TLS on or off for new sessions, and waits until the server has read that.
fn switch(wanted: &str) {
    administer(&format!("ALTER SYSTEM SET ssl = {wanted}"));
    administer("SELECT pg_reload_conf()");
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let url = std::env::var(VARIABLE).unwrap();
        let mut client = postgres::Client::connect(&url, postgres::NoTls).unwrap();
        let found: String = client.query_one("SHOW ssl", &[]).unwrap().get(0);
        if found == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "ssl is {found}");
    }
}

/// Whether the session of a catalog is encrypted, as the server sees it.
fn is_encrypted(catalog: &Catalog) -> bool {
    let sql = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let found = catalog.read("test", |tx| {
        first(tx, "test", sql, [], |row| row.get::<_, i64>("ssl"))
    });
    found.unwrap() == Some(1)
}

#[test]
fn who_is_trusted_follows_from_the_url() {
    if std::env::var(VARIABLE).is_err() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let (ca, other_ca) = (
        folder.path().join("ca.pem"),
        folder.path().join("other.pem"),
    );
    let place = Place::empty();
    let url = |host: &str, query: &str| {
        let (_, port) = place
            .address()
            .rsplit_once(':')
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .unwrap();
        format!(
            "postgres://strongroom@{host}:{port}/{}?{query}",
            place.database()
        )
    };
    let connect = |host: &str, query: &str| {
        let place = PostgresPlace::parse(&url(host, query)).unwrap();
        Catalog::connect(&place, CatalogOptions::default())
    };
    let refused = |host: &str, query: &str| match connect(host, query) {
        Err(CatalogError::Away { detail, .. }) => detail,
        other => format!("{other:?}"),
    };
    switch("off");
    // A server without TLS is not spoken to in plain text when that was not asked for.
    let said = refused("127.0.0.1", "sslmode=require");
    assert!(said.contains("does not support TLS"), "{said}");
    let issuer = new_ca(&ca);
    new_ca(&other_ca);
    switch_on(&issuer);
    let (good, bad) = (ca.display(), other_ca.display());
    for (host, query) in [
        ("127.0.0.1", "sslmode=require".to_owned()),
        ("127.0.0.1", format!("sslmode=require&sslrootcert={good}")),
        ("127.0.0.1", format!("sslmode=verify-ca&sslrootcert={good}")),
        (
            "localhost",
            format!("sslmode=verify-full&sslrootcert={good}"),
        ),
    ] {
        let catalog = connect(host, &query).unwrap_or_else(|error| panic!("{query}: {error}"));
        assert!(is_encrypted(&catalog), "{query}");
        catalog.write("test", |_| Ok(())).unwrap();
        assert_eq!(catalog.wakes().unwrap().wait(Duration::ZERO), Some(true));
    }
    for (host, query, why) in [
        (
            "127.0.0.1",
            format!("sslmode=verify-full&sslrootcert={good}"),
            "not valid for name",
        ),
        (
            "127.0.0.1",
            format!("sslmode=require&sslrootcert={bad}"),
            "UnknownIssuer",
        ),
        (
            "localhost",
            format!("sslmode=verify-ca&sslrootcert={bad}"),
            "UnknownIssuer",
        ),
        (
            "localhost",
            format!("sslmode=verify-full&sslrootcert={bad}"),
            "UnknownIssuer",
        ),
    ] {
        let said = refused(host, &query);
        assert!(said.contains(why), "{query}: {said}");
    }
    assert!(!is_encrypted(
        &connect("127.0.0.1", "sslmode=disable").unwrap()
    ));
    assert!(!is_encrypted(&connect("127.0.0.1", "").unwrap()));
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "no certificate").unwrap();
    let query = format!("sslmode=verify-full&sslrootcert={}", empty.display());
    let error = PostgresPlace::parse(&url("localhost", &query)).unwrap_err();
    assert!(matches!(error, PlaceError::Ca { .. }), "{error}");
}
