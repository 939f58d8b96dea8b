//! Accepts connections and has their requests answered, until the server stops.
//!
//! hyper by itself rather than what axum makes of it: each connection is a future of ours, which [`SelfWakes`] can wrap.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;

use axum::body::Body;
use axum::serve::Listener as _;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;

use crate::connections::LimitedListener;
use crate::http::{Border, Peer, answer};
use crate::self_wakes::SelfWakes;

/// Serves until `stopped`; returns once each request that was begun has its reply. Needs a runtime.
pub(crate) async fn serve(
    mut listener: LimitedListener,
    border: Border,
    stopped: impl Future<Output = ()>,
) {
    let connections = GracefulShutdown::new();
    let mut stopped = pin!(stopped);
    loop {
        let (stream, address) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stopped => break,
        };
        let border = border.clone();
        let peer = Peer(address);
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let border = border.clone();
            async move { Ok::<_, Infallible>(answer(border, peer, request.map(Body::new)).await) }
        });
        let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        let connection = SelfWakes::new(connections.watch(connection));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection broke off");
            }
        });
    }
    // New connections are refused from here on.
    drop(listener);
    connections.shutdown().await;
}
