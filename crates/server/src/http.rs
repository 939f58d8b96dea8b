//! The border: reads a request whole, has it answered where it is or on the blocking pool, and writes the reply.
//!
//! Every failure is a 4xx or 5xx with a JSON body that all SDKs can read; a panic in a handler is an `InternalError`
//! with its request id in the log. Nothing is decided here but sizes and times.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api::agent_protocol::PREFIX;
use api::error::{ApiError, Code, ErrorBody};
use axum::body::{Body, to_bytes};
use http::{HeaderValue, Request, Response, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::actions::{Attempt, Pending};
use crate::in_place::InPlace;
use crate::service::Service;
use crate::stream::{self, BodySender};
use crate::wire::{Wire, new_request_id};
use crate::{actions, agents, report_files};

/// Requests that are worked on at once; more wait for [`QUEUE_TIMEOUT`].
pub(crate) const MAX_IN_FLIGHT: usize = 32;
const QUEUE_TIMEOUT: Duration = Duration::from_secs(30);
/// Bodies that are in memory at once, in KiB: they are read before it is known who sends them.
const BODY_ROOM_KIB: usize = 128 * 1024;
/// For a body of a few megabytes on a slow line.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
const JSON: &str = "application/json; charset=utf-8";
const BYTES: &str = "application/octet-stream";
/// Where errors send their reader.
const RECOMMEND: &str = "See the message; the server's log has more under the request id.";

/// What requests need: the service, and a place among those worked on.
#[derive(Clone)]
pub(crate) struct Border {
    pub(crate) service: Arc<Service>,
    in_place: Arc<InPlace>,
    in_flight: Arc<Semaphore>,
    body_room: Arc<Semaphore>,
}

/// The address of the other side.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer(pub(crate) SocketAddr);

impl Border {
    pub(crate) fn new(service: Arc<Service>) -> Self {
        Self {
            service,
            in_place: Arc::default(),
            in_flight: Arc::new(Semaphore::new(MAX_IN_FLIGHT)),
            body_room: Arc::new(Semaphore::new(BODY_ROOM_KIB)),
        }
    }
}

/// All paths and methods come here, so that each failure has the same form.
pub(crate) async fn answer(border: Border, peer: Peer, request: Request<Body>) -> Response<Body> {
    let request_id = new_request_id();
    let host = request
        .headers()
        .get(header::HOST)
        .map(|value| text_of(value.as_bytes()))
        .unwrap_or_default();
    // The room is given back with the reply.
    let result = match read(&border, peer, request, &request_id).await {
        Ok((wire, _room)) if agents::is_copy(&wire.path) => {
            match agents::copy_catalog(&border, wire).await {
                Ok(body) => return respond(200, &request_id, (BYTES, None), body),
                Err(error) => Err(error),
            }
        }
        Ok((wire, _room)) if wire.path.starts_with(report_files::PREFIX) => {
            match report_files::serve(&border, wire).await {
                Ok(response) => return response,
                Err(error) => Err(error),
            }
        }
        Ok((wire, _room)) if wire.path.starts_with(PREFIX) => agents::serve(&border, wire).await,
        Ok((wire, _room)) => border.serve_action(&request_id, wire).await,
        Err(error) => Err(error),
    };
    match result {
        Ok(body) => respond(200, &request_id, (JSON, None), body.into()),
        Err(error) => {
            tracing::debug!(request_id, code = %error.code, message = %error.message, "refused");
            let body = ErrorBody {
                request_id: &request_id,
                host_id: &host,
                code: &error.code,
                message: &error.message,
                recommend: RECOMMEND,
                access_denied_detail: error.denied.as_deref(),
            };
            let json = serde_json::to_vec(&body).unwrap_or_default();
            respond(
                error.http_status,
                &request_id,
                (JSON, error.retry_after_ms),
                json.into(),
            )
        }
    }
}

async fn read(
    border: &Border,
    peer: Peer,
    request: Request<Body>,
    request_id: &str,
) -> Result<(Wire, OwnedSemaphorePermit), ApiError> {
    let (head, body) = request.into_parts();
    let method = head.method.as_str();
    if !matches!(method, "GET" | "POST") {
        return Err(ApiError::of(Code::UnsupportedHttpMethod));
    }
    let path = head.uri.path();
    let is_known =
        path == "/" || path.starts_with(PREFIX) || path.starts_with(report_files::PREFIX);
    if !is_known {
        return Err(ApiError::of(Code::InvalidPath));
    }
    let limit = border.service.max_body_bytes;
    let too_large = || {
        ApiError::new(
            Code::RequestTooLarge,
            format!("The body of a request can have at most {limit} bytes."),
        )
    };
    let stated = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if stated.is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    // A body without a stated length may be as large as any.
    let kib = stated.unwrap_or(limit as u64) / 1024 + 1;
    let kib = u32::try_from(kib)
        .unwrap_or(u32::MAX)
        .min(BODY_ROOM_KIB as u32);
    let body_room = border.body_room.clone();
    let room = match body_room.clone().try_acquire_many_owned(kib) {
        Ok(room) => room,
        Err(_) => match timeout(QUEUE_TIMEOUT, body_room.acquire_many_owned(kib)).await {
            Ok(Ok(room)) => room,
            Ok(Err(_)) | Err(_) => return Err(busy()),
        },
    };
    let body = match timeout(BODY_TIMEOUT, to_bytes(body, limit)).await {
        Ok(Ok(bytes)) => bytes,
        // Either the limit or a connection that broke; nobody reads the answer to the latter.
        Ok(Err(_)) => return Err(too_large()),
        Err(_) => {
            return Err(ApiError::new(
                Code::InvalidParameter,
                "The body of the request did not arrive in time.",
            ));
        }
    };
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text_of(value.as_bytes())))
        .collect();
    let wire = Wire {
        request_id: request_id.to_owned(),
        method: method.to_owned(),
        path: path.to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers,
        body,
        peer: peer.0.ip(),
    };
    Ok((wire, room))
}

fn busy() -> ApiError {
    ApiError::of(Code::ServiceUnavailable).retry_after(1_000)
}

impl Border {
    /// Answers a call of an action where it is, if that takes microseconds: to hand it over to another thread and back
    /// would cost more than the answer. All others go to the blocking pool.
    async fn serve_action(&self, request_id: &str, wire: Wire) -> Result<Vec<u8>, ApiError> {
        let attempt = self.in_place.run(|| {
            let span = tracing::error_span!("request", id = request_id);
            span.in_scope(|| actions::attempt(&self.service, &wire))
        });
        let pending = match attempt {
            None => Pending::Arrived,
            Some(Ok(Attempt::Later(pending))) => pending,
            Some(Ok(Attempt::Done(answer))) => return answer,
            Some(Err(_)) => {
                tracing::error!(request_id, "a handler panicked");
                return Err(ApiError::of(Code::InternalError));
            }
        };
        self.blocking(request_id, move |service| pending.finish(service, &wire))
            .await
    }

    /// Runs `work` on the blocking pool, for as long as it takes, with what gives its bytes to the body that is returned. A
    /// client that reads slowly keeps it waiting; one that is gone is told by the failure to send.
    pub(crate) async fn streaming<F>(&self, request_id: &str, work: F) -> Result<Body, ApiError>
    where
        F: FnOnce(&Arc<Service>, &BodySender) + Send + 'static,
    {
        let permit = match timeout(QUEUE_TIMEOUT, self.in_flight.clone().acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => return Err(busy()),
        };
        let (sender, body) = stream::body();
        let service = self.service.clone();
        let span = tracing::error_span!("request", id = request_id);
        tokio::task::spawn_blocking(move || {
            span.in_scope(|| work(&service, &sender));
            drop(permit);
        });
        Ok(body)
    }

    /// Runs `work` on the blocking pool, where the catalog may be waited for.
    pub(crate) async fn blocking<T, F>(&self, request_id: &str, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Arc<Service>) -> Result<T, ApiError> + Send + 'static,
    {
        let permit = match timeout(QUEUE_TIMEOUT, self.in_flight.clone().acquire_owned()).await {
            Ok(Ok(permit)) => permit,
            Ok(Err(_)) | Err(_) => return Err(busy()),
        };
        let service = self.service.clone();
        let span = tracing::error_span!("request", id = request_id);
        let done = tokio::task::spawn_blocking(move || {
            let result = span.in_scope(|| work(&service));
            drop(permit);
            result
        });
        match done.await {
            Ok(result) => result,
            Err(error) if error.is_panic() => {
                tracing::error!(request_id, "a handler panicked");
                Err(ApiError::of(Code::InternalError))
            }
            Err(_) => Err(busy()),
        }
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn respond(
    status: u16,
    request_id: &str,
    (content_type, retry_after_ms): (&'static str, Option<u64>),
    body: Body,
) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        http::StatusCode::from_u16(status).unwrap_or(http::StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert("x-acs-request-id", value);
    }
    if let Some(milliseconds) = retry_after_ms {
        headers.insert("x-acs-retry-after", HeaderValue::from(milliseconds));
    }
    response
}
