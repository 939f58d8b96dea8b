//! Where the catalogs of tests are: a file, or a database of its own on the PostgreSQL server that
//! `STRONGROOM_TEST_POSTGRES` names (the URL of a user who may create databases).

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use postgres::NoTls;

use crate::{Catalog, CatalogOptions, PostgresPlace};

pub(crate) const VARIABLE: &str = "STRONGROOM_TEST_POSTGRES";

/// A place for one test's catalog; what is on a server goes with it.
pub(crate) enum Place {
    File(PathBuf),
    Server(Box<PostgresPlace>, Option<Remover>),
}

/// Drops a database.
pub(crate) struct Remover(String);

impl Place {
    /// Where the run of tests wants its catalogs: on the server when there is one, else in the folder.
    pub(crate) fn new(folder: &Path) -> Self {
        match std::env::var(VARIABLE) {
            Ok(_) => Self::on_server(),
            Err(_) => Self::in_folder(folder),
        }
    }

    pub(crate) fn in_folder(folder: &Path) -> Self {
        Self::File(folder.join("catalog.db"))
    }

    fn on_server() -> Self {
        Self::copy_of(template())
    }

    /// A database of a server without a schema.
    pub(crate) fn empty() -> Self {
        Self::copy_of("template0 ENCODING 'UTF8'")
    }

    fn copy_of(template: &str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("test_{}_{number}", std::process::id());
        administer(&format!("CREATE DATABASE {name} TEMPLATE {template}"));
        Self::Server(Box::new(server().with_database(&name)), Some(Remover(name)))
    }

    pub(crate) fn open(&self, options: CatalogOptions) -> Catalog {
        match self {
            Self::File(path) => Catalog::open(path, options),
            Self::Server(place, _) => Catalog::connect(place, options),
        }
        .unwrap()
    }

    /// The name of a server's database.
    pub(crate) fn database(&self) -> &str {
        match self {
            Self::Server(_, Some(Remover(name))) => name,
            _ => panic!("no database of a server"),
        }
    }

    /// Where the server listens.
    pub(crate) fn address(&self) -> String {
        let url = std::env::var(VARIABLE).unwrap();
        let (_, rest) = url.split_once('@').unwrap();
        rest.split_once('/').unwrap().0.to_owned()
    }

    pub(crate) const fn is_server(&self) -> bool {
        matches!(self, Self::Server(..))
    }

    /// For another process, which reads it with [`Place::read`] and leaves removing to this one.
    pub(crate) fn told(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Server(_, Some(Remover(name))) => format!("{VARIABLE} {name}"),
            Self::Server(_, None) => panic!("told on"),
        }
    }

    pub(crate) fn read(told: &str) -> Self {
        match told.strip_prefix(&format!("{VARIABLE} ")) {
            Some(name) => Self::Server(Box::new(server().with_database(name)), None),
            None => Self::File(PathBuf::from(told)),
        }
    }
}

impl Drop for Remover {
    fn drop(&mut self) {
        administer(&format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.0));
    }
}

pub(crate) fn server() -> PostgresPlace {
    PostgresPlace::parse(&std::env::var(VARIABLE).unwrap()).unwrap()
}

/// One session for each statement: a statement on databases must be alone.
pub(crate) fn administer(sql: &str) {
    let url = std::env::var(VARIABLE).unwrap();
    let mut client = postgres::Client::connect(&url, NoTls).unwrap();
    client.batch_execute(sql).unwrap();
}

/// A database with the whole schema, made once by each process: a copy is quicker than migrations.
fn template() -> &'static str {
    static TEMPLATE: OnceLock<String> = OnceLock::new();
    TEMPLATE.get_or_init(|| {
        let name = format!("template_{}", std::process::id());
        administer(&format!(
            "CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'"
        ));
        drop(Catalog::connect(&server().with_database(&name), CatalogOptions::default()).unwrap());
        name
    })
}
