//! Stands between a catalog and its server, and cuts the connection around a chosen COMMIT.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use parking_lot::Mutex;

use super::places::{Place, administer};
use crate::{Catalog, CatalogOptions, PostgresPlace};

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The server has committed and said so; nobody hears it.
    LoseAnswer,
    /// COMMIT never comes to the server.
    LoseCommit,
    /// The server ends the session right before it.
    EndSession,
}

impl Cut {
    pub(crate) const ALL: [Self; 3] = [Self::LoseAnswer, Self::LoseCommit, Self::EndSession];
}

/// A proxy; its threads end with the process.
pub(crate) struct Proxy {
    port: u16,
    database: String,
    /// How many COMMITs pass before one is cut, and how.
    next: Arc<Mutex<Option<(usize, Cut)>>>,
}

impl Proxy {
    /// In front of the database of a test.
    pub(crate) fn before(place: &Place) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            port: listener.local_addr().unwrap().port(),
            database: place.database().to_owned(),
            next: Arc::default(),
        };
        let (to, next) = (place.address(), proxy.next.clone());
        thread::spawn(move || {
            for client in listener.incoming() {
                let server = TcpStream::connect(&to).unwrap();
                carry(client.unwrap(), server, &next);
            }
        });
        proxy
    }

    /// A catalog behind it.
    pub(crate) fn open(&self, options: CatalogOptions) -> Catalog {
        let url = format!(
            "postgres://strongroom@127.0.0.1:{}/{}",
            self.port, self.database
        );
        let place = PostgresPlace::parse(&url).unwrap();
        Catalog::connect(&place, options).unwrap()
    }

    /// Lets so many COMMITs pass and cuts at the next one.
    pub(crate) fn cut_after(&self, count: usize, cut: Cut) {
        *self.next.lock() = Some((count, cut));
    }

    /// Whether the cut that was asked for has happened; none is to come then.
    pub(crate) fn has_cut(&self) -> bool {
        self.next.lock().take().is_none()
    }
}

/// Ends every session of a database, as a restart of the server does.
pub(crate) fn end_sessions(database: &str) {
    administer(&format!(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{database}'"
    ));
}

/// Ends the session at the other end of a socket, and no other.
fn end_session_of(socket: &TcpStream) {
    let port = socket.local_addr().unwrap().port();
    administer(&format!(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE client_port = {port}"
    ));
}

/// What is to be done at a COMMIT.
fn at_commit(next: &Mutex<Option<(usize, Cut)>>) -> Option<Cut> {
    let mut next = next.lock();
    match next.take() {
        Some((0, cut)) => Some(cut),
        Some((count, cut)) => {
            *next = Some((count - 1, cut));
            None
        }
        None => None,
    }
}

fn carry(mut client: TcpStream, mut server: TcpStream, next: &Arc<Mutex<Option<(usize, Cut)>>>) {
    let (mut back_from, mut back_to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
    let answer_is_lost = Arc::new(Mutex::new(false));
    let is_lost = answer_is_lost.clone();
    thread::spawn(move || {
        let mut bytes = [0; 65_536];
        while let Ok(count @ 1..) = back_from.read(&mut bytes) {
            // The answer to COMMIT has come: it is done.
            if *is_lost.lock() || back_to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = back_to.shutdown(Shutdown::Both);
    });
    let next = next.clone();
    thread::spawn(move || {
        let mut bytes = [0; 65_536];
        while let Ok(count @ 1..) = client.read(&mut bytes) {
            let is_commit = bytes[..count].windows(7).any(|word| word == b"COMMIT\0");
            let cut = is_commit.then(|| at_commit(&next)).flatten();
            match cut {
                Some(Cut::LoseAnswer) => *answer_is_lost.lock() = true,
                Some(Cut::LoseCommit) => break,
                Some(Cut::EndSession) => end_session_of(&server),
                None => {}
            }
            if server.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
    });
}
