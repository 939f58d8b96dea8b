//! A request as owned data, on its way from the socket to a handler.

use std::net::IpAddr;

use api::signature::WireRequest;
use axum::body::Bytes;

/// Everything of a request that matters.
#[derive(Debug)]
pub(crate) struct Wire {
    pub(crate) request_id: String,
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Bytes,
    pub(crate) peer: IpAddr,
}

impl Wire {
    /// The host as the caller named it.
    pub(crate) fn host(&self) -> &str {
        self.headers
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case("host"))
            .map_or("", |(_, value)| value.as_str())
    }

    pub(crate) fn as_request(&self) -> WireRequest<'_> {
        WireRequest {
            method: &self.method,
            path: &self.path,
            query: &self.query,
            headers: &self.headers,
            body: &self.body,
        }
    }
}

/// Upper-case UUID, as HBR's.
pub(crate) fn new_request_id() -> String {
    // No secret: random numbers of this process do, without a call of the system for each.
    uuid::Builder::from_random_bytes(rand::random())
        .into_uuid()
        .hyphenated()
        .encode_upper(&mut uuid::Uuid::encode_buffer())
        .to_owned()
}
