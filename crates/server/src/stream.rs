//! A reply whose bytes are made while it is sent: a thread gives them, and waits when the client does not keep up.
//!
//! A body that was not given to its end breaks the connection off, so that no client takes it for whole.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use futures_core::Stream;
use tokio::sync::mpsc;

/// Parts under way: a part is a few hundred kilobytes.
const PARTS: usize = 4;

enum Part {
    Bytes(Bytes),
    End,
}

/// Where the parts of a body go.
pub(crate) struct BodySender(mpsc::Sender<Part>);

impl BodySender {
    /// Gives the next part; false when nobody reads any more. Blocks.
    pub(crate) fn send(&self, bytes: Vec<u8>) -> bool {
        self.0.blocking_send(Part::Bytes(bytes.into())).is_ok()
    }

    /// The body is whole.
    pub(crate) fn end(&self) {
        // Nobody there to read it is no matter now.
        let _ = self.0.blocking_send(Part::End);
    }
}

/// A body, and where its parts come from.
pub(crate) fn body() -> (BodySender, Body) {
    let (sender, parts) = mpsc::channel(PARTS);
    let stream = Parts {
        parts,
        is_over: false,
    };
    (BodySender(sender), Body::from_stream(stream))
}

struct Parts {
    parts: mpsc::Receiver<Part>,
    is_over: bool,
}

impl Stream for Parts {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        self.parts.poll_recv(context).map(|part| match part {
            Some(Part::Bytes(bytes)) => Some(Ok(bytes)),
            Some(Part::End) => {
                self.is_over = true;
                None
            }
            None => {
                self.is_over = true;
                Some(Err(io::Error::other("the reply broke off")))
            }
        })
    }
}
