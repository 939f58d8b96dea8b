//! A server that answers the agent protocol as a script says; real HTTP on loopback, no signatures checked.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::agent_protocol::{
    Accepted, Assignment, DeregisterRequest, FinishRequest, Lease, RegisterReply, RegisterRequest,
    ReportErrorsRequest, SyncReply, SyncRequest,
};
use parking_lot::{Condvar, Mutex};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What the server knows and was told.
#[derive(Default)]
pub(super) struct State {
    pub(super) registrations: Vec<RegisterRequest>,
    pub(super) syncs: Vec<SyncRequest>,
    pub(super) rows: Vec<ReportErrorsRequest>,
    pub(super) ends: Vec<FinishRequest>,
    pub(super) goodbyes: Vec<DeregisterRequest>,
    /// What the next syncs get.
    pub(super) replies: VecDeque<SyncReply>,
    /// Repeated in every sync.
    pub(super) cancel: Vec<Lease>,
    /// Error answers before any other: method, HTTP status, code, how often.
    pub(super) failures: Vec<(&'static str, u16, &'static str, u32)>,
    /// Reports under these work ids count no more.
    pub(super) stale: Vec<String>,
    /// Whose key signs registrations; `1` if not said.
    pub(super) account_id: Option<&'static str>,
    /// Connections are closed without an answer.
    pub(super) is_away: bool,
}

/// The server; its threads end with the process.
pub(super) struct FakeServer {
    pub(super) endpoint: String,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl FakeServer {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shared: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let served = Arc::clone(&shared);
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let served = Arc::clone(&served);
                std::thread::spawn(move || serve(connection, &served));
            }
        });
        Self { endpoint, shared }
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.shared.0.lock());
        self.shared.1.notify_all();
        result
    }

    /// Gives work to the next sync.
    pub(super) fn assign(&self, assignments: Vec<Assignment>) {
        self.with(|state| {
            state.replies.push_back(SyncReply {
                assignments,
                ..SyncReply::default()
            })
        });
    }

    /// Waits until the state is as wanted; the test fails after a while.
    pub(super) fn wait_for(&self, what: &str, is_there: impl Fn(&State) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let mut state = self.shared.0.lock();
        while !is_there(&state) {
            let late = self.shared.1.wait_until(&mut state, deadline).timed_out();
            assert!(!late, "waited in vain for: {what}");
        }
    }
}

fn serve(connection: TcpStream, shared: &(Mutex<State>, Condvar)) {
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    while let Some((method, body)) = read_request(&mut reader) {
        if shared.0.lock().is_away {
            return;
        }
        let (status, reply) = answer(&method, &body, shared);
        let text = reply.to_string();
        let head = format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
            text.len()
        );
        if (&connection).write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// The last part of the path, and the body.
fn read_request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    reader
        .read_line(&mut line)
        .ok()
        .filter(|length| *length > 0)?;
    let method = line
        .split_whitespace()
        .nth(1)?
        .rsplit('/')
        .next()?
        .to_owned();
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader
            .read_line(&mut header)
            .ok()
            .filter(|length| *length > 0)?;
        if header.trim().is_empty() {
            break;
        }
        if let Some((name, value)) = header.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((method, body))
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> T {
    serde_json::from_slice(body).unwrap()
}

fn answer(method: &str, body: &[u8], shared: &(Mutex<State>, Condvar)) -> (u16, Value) {
    let mut state = shared.0.lock();
    if let Some(failure) = state
        .failures
        .iter_mut()
        .find(|(of, _, _, left)| *of == method && *left > 0)
    {
        failure.3 -= 1;
        let (status, code) = (failure.1, failure.2);
        shared.1.notify_all();
        return (
            status,
            json!({"Code": code, "Message": "as the script says", "RequestId": "R"}),
        );
    }
    let reply = match method {
        "Register" => {
            let request: RegisterRequest = parse(body);
            state.registrations.push(request);
            let number = state.registrations.len();
            json!(RegisterReply {
                client_id: "c-1".into(),
                instance_id: "i-1".into(),
                account_id: state.account_id.unwrap_or("1").into(),
                agent_key_id: format!("key-{number}"),
                agent_key_secret: "secret".into(),
            })
        }
        // The one action that an agent calls: whose its account key is.
        "" => json!({ "AccountId": state.account_id.unwrap_or("1") }),
        "Sync" => sync(state, parse(body), shared),
        "ReportErrors" => {
            let request: ReportErrorsRequest = parse(body);
            let accepted = !state.stale.contains(&request.work_id);
            state.rows.push(request);
            json!(Accepted { accepted })
        }
        "Deregister" => {
            state.goodbyes.push(parse(body));
            json!(Accepted { accepted: true })
        }
        "Finish" => {
            let request: FinishRequest = parse(body);
            let accepted = !state.stale.contains(&request.work_id);
            state.ends.push(request);
            json!(Accepted { accepted })
        }
        other => panic!("no method {other}"),
    };
    shared.1.notify_all();
    (200, reply)
}

/// Holds the answer for a short while if there is nothing to say.
fn sync(
    mut state: parking_lot::MutexGuard<'_, State>,
    request: SyncRequest,
    shared: &(Mutex<State>, Condvar),
) -> Value {
    let until = Instant::now() + Duration::from_millis(request.wait_ms.min(200));
    state.syncs.push(request);
    shared.1.notify_all();
    while state.replies.is_empty() && !shared.1.wait_until(&mut state, until).timed_out() {}
    let mut reply = state.replies.pop_front().unwrap_or_default();
    reply.cancel.extend(state.cancel.iter().cloned());
    json!(reply)
}
