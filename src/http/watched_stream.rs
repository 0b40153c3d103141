//! A client's socket, watched for the client's leaving while its answer is made.
//!
//! hyper would find out by reading ahead: each look readies a buffer of 8 kB for a request that no client sends before it has its
//! answer, and keeps the one that the request came in from being used again. So hyper is told not to look (`half_close`), and
//! it is done here, without a buffer.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::activity::Activity;

/// A socket whose [`poll_flush`](AsyncWrite::poll_flush) fails once the client has left: hyper calls it whenever it has written, or
/// has nothing to write.
pub(super) struct WatchedStream {
    stream: TcpStream,
    activity: Arc<Activity>,
}

impl WatchedStream {
    pub(super) fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }

    /// Fails where the client has closed its side, or the connection is broken. Wakes the task when that happens, unless bytes
    /// came first: they are the next request, which is read when this one is answered.
    fn look_for_end(&self, context: &mut Context<'_>) -> io::Result<()> {
        let mut byte = [MaybeUninit::uninit()];
        match self.stream.poll_peek(context, &mut ReadBuf::uninit(&mut byte)) {
            Poll::Ready(Ok(0)) => Err(io::ErrorKind::UnexpectedEof.into()),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Ready(Ok(_)) | Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for WatchedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        // The end of the bytes has been told, too.
        let has_bytes = matches!(read, Poll::Ready(Ok(()))) && buffer.filled().len() > filled;
        self.activity.set_awaits_bytes(!has_bytes);
        read
    }
}

impl AsyncWrite for WatchedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    /// A socket holds nothing back that could be flushed.
    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.activity.awaits_bytes() {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(self.look_for_end(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
