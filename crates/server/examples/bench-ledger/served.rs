//! The server in front of the catalog: what a signed call costs it, beside a constant reply of as many bytes.
//!
//! Both servers get the same signed requests from the same load generator over one connection that stays open, and both
//! read them whole. CPU time is that of the server's threads, the kernel's part of it included.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use api::pairs;
use api::signature::v3::{authorize, sha256_hex};
use api::signature::{WireRequest, format_time};
use axum::body::Bytes;
use axum::extract::State;
use model::{Filter, JobQuery, Predicate, Test};

use crate::classes::{CLASSES, MIX};
use crate::measure::{quantile, threads_cpu};
use crate::stored::{Outcome, Place};

/// Each figure is the median of so many rounds, one after the other.
const ROUNDS: u64 = 7;
/// Calls before the first round.
const WARM_UP: u64 = 500;
/// How the kernel shows the names of the server's threads.
const SERVER_THREADS: &str = "strongroom-serv";
const CONSTANT_THREADS: &str = "constant";

/// Makes signed requests.
struct Signer {
    host: String,
    access_key_id: String,
    secret: String,
}

impl Signer {
    /// The bytes of a call of DescribeBackupJobs2.
    fn request(&self, query: &JobQuery) -> Outcome<Vec<u8>> {
        let body = pairs::canonical(&pairs_of(query)).into_bytes();
        let hash = sha256_hex(&body);
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let date = format_time(since_1970.as_secs().cast_signed())?;
        let nonce = uuid::Uuid::new_v4().simple().to_string();
        let headers = [
            ("content-type", "application/x-www-form-urlencoded"),
            ("host", &self.host),
            ("x-acs-action", "DescribeBackupJobs2"),
            ("x-acs-content-sha256", &hash),
            ("x-acs-date", &date),
            ("x-acs-signature-nonce", &nonce),
            ("x-acs-version", api::VERSION),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let wire = WireRequest {
            method: "POST",
            path: "/",
            query: "",
            headers: &headers,
            body: &body,
        };
        let authorization = authorize(&self.access_key_id, &self.secret, &wire, &[], &hash);
        let mut request = String::from("POST / HTTP/1.1\r\n");
        for (name, value) in &headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!(
            "authorization: {authorization}\r\naccept: application/json\r\nuser-agent: bench\r\ncontent-length: {}\r\n\r\n",
            body.len()
        ));
        let mut request = request.into_bytes();
        request.extend(body);
        Ok(request)
    }

    fn requests(&self, count: u64, make: &dyn Fn(u64) -> JobQuery) -> Outcome<Vec<Vec<u8>>> {
        (0..count).map(|round| self.request(&make(round))).collect()
    }
}

/// The pairs of a query on the wire.
fn pairs_of(query: &JobQuery) -> Vec<(String, String)> {
    let mut pairs = vec![
        ("PageNumber".to_owned(), query.page_number.to_string()),
        ("PageSize".to_owned(), query.page_size.to_string()),
        ("RegionId".to_owned(), "cn-hangzhou".to_owned()),
        ("SortDirection".to_owned(), query.sort.as_str().to_owned()),
    ];
    if let Some(source_type) = query.source_type {
        pairs.push(("SourceType".to_owned(), source_type.as_str().to_owned()));
    }
    for (number, Filter { key, predicate }) in query.filters.iter().enumerate() {
        let (operator, values): (&str, Vec<String>) = match predicate {
            Predicate::Text(Test::Equal(value)) => ("EQUAL", vec![value.clone()]),
            Predicate::Text(Test::NotEqual(value)) => ("NOT_EQUAL", vec![value.clone()]),
            Predicate::Text(Test::In(values)) => ("IN", values.clone()),
            Predicate::Time(Test::Between(low, high)) => {
                ("BETWEEN", vec![low.to_string(), high.to_string()])
            }
            _ => continue,
        };
        let name = |part: &str| format!("Filters.{}.{part}", number + 1);
        pairs.push((name("Key"), key.as_str().to_owned()));
        pairs.push((name("Operator"), operator.to_owned()));
        for (place, value) in values.into_iter().enumerate() {
            pairs.push((name(&format!("Values.{}", place + 1)), value));
        }
    }
    pairs
}

/// A connection that stays open.
struct Caller {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Caller {
    fn connect(addr: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(addr)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: vec![0; 1 << 20],
        })
    }

    /// Sends a request and reads the whole reply; gives the number of bytes of its body.
    fn call(&mut self, request: &[u8]) -> Outcome<usize> {
        self.stream.write_all(request)?;
        let mut filled = 0;
        loop {
            let count = self.stream.read(&mut self.buffer[filled..])?;
            if count == 0 {
                return Err("the server closed the connection".into());
            }
            filled += count;
            let reply = &self.buffer[..filled];
            let Some(end) = reply.windows(4).position(|window| window == b"\r\n\r\n") else {
                continue;
            };
            let head = std::str::from_utf8(&reply[..end])?;
            if !head.starts_with("HTTP/1.1 200") {
                return Err(String::from_utf8_lossy(reply).into_owned().into());
            }
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(':')?;
                let is_length = name.eq_ignore_ascii_case("content-length");
                is_length.then(|| value.trim().parse::<usize>().ok())?
            });
            let length = length.ok_or("a reply without its length")?;
            if filled == end + 4 + length {
                return Ok(length);
            }
        }
    }

    /// CPU time a call of the threads whose names start with `threads`.
    fn measure(&mut self, threads: &str, requests: &[Vec<u8>]) -> Outcome<Duration> {
        let before = threads_cpu(threads);
        for request in requests {
            self.call(request)?;
        }
        let spent = threads_cpu(threads) - before;
        Ok(spent / u32::try_from(requests.len())?)
    }
}

/// CPU of the server's threads for signed calls, against a constant reply of as many bytes.
pub(crate) fn measure_server(place: &Place, calls: u64) -> Outcome<()> {
    let server = server::start(place.options())?;
    let file: serde_json::Value = serde_json::from_slice(&fs::read(server.credentials_path())?)?;
    let text = |name: &str| file[name].as_str().unwrap_or_default().to_owned();
    let signer = Signer {
        host: server.addr().to_string(),
        access_key_id: text("AccessKeyId"),
        secret: text("AccessKeySecret"),
    };
    let mut caller = Caller::connect(server.addr())?;
    let page_1 = |_: u64| (CLASSES[0].make)(0);
    let mixed = |round: u64| (CLASSES[(round % MIX as u64) as usize].make)(round);
    for request in signer.requests(WARM_UP, &mixed)? {
        caller.call(&request)?;
    }
    let bytes = caller.call(&signer.request(&page_1(0))?)?;
    let constant = Constant::start(bytes)?;
    let mut constant_caller = Caller::connect(constant.addr)?;
    let bare = vec![b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(); calls as usize];
    for request in signer
        .requests(WARM_UP, &page_1)?
        .iter()
        .chain(&bare[..200])
    {
        constant_caller.call(request)?;
    }
    let mut times: [Vec<Duration>; 4] = Default::default();
    for round in 0..ROUNDS {
        let first = signer.requests(calls, &page_1)?;
        let mix = signer.requests(calls, &|number| mixed(number + calls * round))?;
        times[0].push(caller.measure(SERVER_THREADS, &first)?);
        times[1].push(constant_caller.measure(CONSTANT_THREADS, &first)?);
        times[2].push(caller.measure(SERVER_THREADS, &mix)?);
        times[3].push(constant_caller.measure(CONSTANT_THREADS, &bare)?);
    }
    let [page, same, mix, bare] = times.each_mut().map(|times| quantile(times, 0.5));
    println!("\nserver CPU of a call, microseconds, medians of {ROUNDS} rounds of {calls} calls:");
    println!("  signed DescribeBackupJobs2, page 1, 10 jobs ({bytes} bytes): {page:.1}");
    println!("  signed DescribeBackupJobs2, mix of {MIX} classes: {mix:.1}");
    println!("  constant reply of as many bytes to the same requests: {same:.1}");
    println!("  constant reply of as many bytes to a bare GET: {bare:.1}");
    println!(
        "ratio to the same requests: {:.2}, mix {:.2}",
        same / page,
        same / mix
    );
    println!(
        "ratio to a bare GET: {:.2}, mix {:.2}",
        bare / page,
        bare / mix
    );
    server.join();
    Ok(())
}

/// A server that reads requests and always answers the same.
struct Constant {
    addr: SocketAddr,
    _runtime: tokio::runtime::Runtime,
}

impl Constant {
    fn start(bytes: usize) -> Outcome<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name(CONSTANT_THREADS)
            .enable_all()
            .build()?;
        let body = Bytes::from(vec![b'x'; bytes]);
        runtime.spawn(async move {
            let app = axum::Router::new()
                .fallback(constant_reply)
                .with_state(body);
            if let Ok(listener) = tokio::net::TcpListener::from_std(listener) {
                let _ = axum::serve(listener, app).await;
            }
        });
        Ok(Self {
            addr,
            _runtime: runtime,
        })
    }
}

async fn constant_reply(State(body): State<Bytes>, _request: Bytes) -> Bytes {
    body
}
