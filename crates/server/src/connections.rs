//! The listening socket: how many connections there may be, and how long one may be silent.
//!
//! With TLS the handshake is a part of the first read, so that one that lingers holds up its own connection only.
//!
//! A client that opens connections and sends nothing must not take the service away from others.

use std::future::Future;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep, sleep};
use tokio_rustls::Accept;
use tokio_rustls::server::TlsStream;

use crate::tls::Acceptors;

/// More connections wait in the backlog of the system. Each costs some 20 KB and a file descriptor.
const MAX_CONNECTIONS: usize = 512;
/// Longer than the longest long poll, during which the client sends nothing.
const MAX_SILENCE: Duration = Duration::from_secs(120);

/// From one reply to the whole of the next request, however slowly its bytes drip in.
const MAX_REQUEST_TIME: Duration = Duration::from_secs(180);

/// Accepts at most [`MAX_CONNECTIONS`] at a time.
pub(crate) struct LimitedListener {
    inner: TcpListener,
    tls: Option<Acceptors>,
    permits: Arc<Semaphore>,
}

impl LimitedListener {
    /// Plain connections, or TLS.
    pub(crate) fn new(inner: TcpListener, tls: Option<Acceptors>) -> Self {
        Self {
            inner,
            tls,
            permits: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }
    }
}

impl axum::serve::Listener for LimitedListener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let permit = self.permits.clone().acquire_owned().await.ok();
        loop {
            match self.inner.accept().await {
                Ok((stream, address)) => {
                    // Replies are one write; without this each waits for the acknowledgement of the former one.
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "no delay cannot be set");
                    }
                    let silence = Box::pin(sleep(MAX_SILENCE));
                    let now = Instant::now();
                    let here = stream.local_addr().ok().map(|here| here.ip());
                    let stream = LimitedStream {
                        stream,
                        silence,
                        last_progress: now,
                        last_write: now,
                        _permit: permit,
                    };
                    let connection = match &self.tls {
                        None => Connection::Plain(stream),
                        Some(tls) => {
                            let accept = tls.between(address.ip(), here).accept(stream);
                            Connection::Handshake(Box::new(accept))
                        }
                    };
                    return (connection, address);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection cannot be accepted");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.inner.local_addr()
    }
}

/// A connection, encrypted or not.
pub(crate) enum Connection {
    Plain(LimitedStream),
    Handshake(Box<Accept<LimitedStream>>),
    Tls(Box<TlsStream<LimitedStream>>),
}

impl Connection {
    /// Goes on with the handshake; afterwards the connection is `Plain` or `Tls`.
    fn poll_handshake(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self::Handshake(accept) = self else {
            return Poll::Ready(Ok(()));
        };
        match Pin::new(accept.as_mut()).poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(stream)) => {
                *self = Self::Tls(Box::new(stream));
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                tracing::debug!(%error, "a TLS handshake failed");
                Poll::Ready(Err(error))
            }
        }
    }

    /// The stream behind the handshake.
    fn stream(&mut self) -> io::Result<Pin<&mut dyn Duplex>> {
        match self {
            Self::Plain(stream) => Ok(Pin::new(stream)),
            Self::Tls(stream) => Ok(Pin::new(stream.as_mut())),
            Self::Handshake(_) => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

/// Bytes both ways.
trait Duplex: AsyncRead + AsyncWrite + Unpin {}

impl<T: AsyncRead + AsyncWrite + Unpin> Duplex for T {}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_handshake(context))?;
        self.stream()?.poll_read(context, buffer)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_handshake(context))?;
        self.stream()?.poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_handshake(context))?;
        self.stream()?.poll_write_vectored(context, parts)
    }

    /// Asked before the handshake, too: what TLS makes of parts is right, and no worse than of one.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream() {
            Ok(stream) => stream.poll_flush(context),
            // Nothing was written yet.
            Err(_) => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.stream() {
            Ok(stream) => stream.poll_shutdown(context),
            // Dropping it closes the socket.
            Err(_) => Poll::Ready(Ok(())),
        }
    }
}

/// A connection that ends when nothing is read or written for [`MAX_SILENCE`], or only read for [`MAX_REQUEST_TIME`].
pub(crate) struct LimitedStream {
    stream: TcpStream,
    /// Ends at a time before which it cannot be over; what has happened meanwhile is looked at then. So a busy connection
    /// does not set a timer for each read and write.
    silence: Pin<Box<Sleep>>,
    last_progress: Instant,
    last_write: Instant,
    _permit: Option<OwnedSemaphorePermit>,
}

impl LimitedStream {
    fn wrote<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.last_write = Instant::now();
        }
        self.guard(context, result)
    }

    fn deadline(&self) -> Instant {
        (self.last_write + MAX_REQUEST_TIME).min(self.last_progress + MAX_SILENCE)
    }

    /// Passes a result on and starts the time anew, or fails once it is over.
    fn guard<T>(
        &mut self,
        context: &mut Context<'_>,
        result: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.last_progress = Instant::now();
            return result;
        }
        while self.silence.as_mut().poll(context).is_ready() {
            let deadline = self.deadline();
            if Instant::now() >= deadline {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.silence.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

impl AsyncRead for LimitedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.guard(context, result)
    }
}

impl AsyncWrite for LimitedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(context, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.wrote(context, result)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
