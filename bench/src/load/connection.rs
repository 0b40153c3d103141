//! One connection: a request out, its answer in.

use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::time::Instant;

use mio::net::TcpStream;
use mio::{Interest, Registry, Token};

use super::answer::{self, Answer};
use super::workload::Errand;

/// The longest answer that is read.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
const READ_BYTES: usize = 16 * 1024;

/// What became of the errand in flight.
#[derive(Debug)]
pub(super) enum Progress {
    /// Not answered yet, or nothing in flight.
    Waiting,
    /// Its answer.
    Answered(Errand, Answer),
    /// The connection is of no use any more; this was in flight.
    Broken(Option<Errand>),
}

/// One connection. Bytes that are sent are kept until they are written.
#[derive(Debug)]
pub(super) struct Connection {
    token: Token,
    stream: TcpStream,
    pub out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    filled: usize,
    pub in_flight: Option<(Errand, Instant)>,
    /// A write met a full buffer, or the connection is being made.
    blocked: bool,
}

impl Connection {
    pub(super) fn open(address: SocketAddr, token: Token, registry: &Registry) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        // Delayed small writes would be measured as latency.
        let _ = stream.set_nodelay(true);
        Ok(Self {
            token,
            stream,
            out: Vec::with_capacity(512),
            written: 0,
            input: vec![0; READ_BYTES],
            filled: 0,
            in_flight: None,
            blocked: true,
        })
    }

    /// Makes the connection anew; what was in flight is forgotten.
    pub(super) fn reopen(&mut self, address: SocketAddr, registry: &Registry) -> io::Result<()> {
        let _ = registry.deregister(&mut self.stream);
        *self = Self::open(address, self.token, registry)?;
        Ok(())
    }

    /// Sends what is in `out`, as this errand.
    pub(super) fn send(&mut self, errand: Errand, now: Instant) -> Progress {
        self.in_flight = Some((errand, now));
        self.written = 0;
        self.filled = 0;
        if self.blocked { Progress::Waiting } else { self.write() }
    }

    /// Goes on with writing: the socket has room.
    pub(super) fn writable(&mut self) -> Progress {
        self.blocked = false;
        if self.in_flight.is_some() { self.write() } else { Progress::Waiting }
    }

    fn write(&mut self) -> Progress {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(0) => return self.broken(),
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
                {
                    self.blocked = true;
                    return Progress::Waiting;
                }
                Err(_) => return self.broken(),
            }
        }
        Progress::Waiting
    }

    /// Reads what is there. Events come once for each change, so it reads until the answer is whole or nothing is left.
    pub(super) fn readable(&mut self) -> Progress {
        loop {
            if self.filled == self.input.len() {
                if self.filled >= ANSWER_BYTES_MAX {
                    return self.broken();
                }
                self.input.resize(self.filled * 2, 0);
            }
            let room = self.input.len() - self.filled;
            match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => return self.broken(),
                Ok(count) => {
                    self.filled += count;
                    match answer::read(&self.input[..self.filled]) {
                        Ok(None) => {}
                        Ok(Some(answer)) => return self.answered(answer),
                        Err(_) => return self.broken(),
                    }
                    // A read that did not fill its room has emptied the socket; the next bytes are a new event.
                    if count < room {
                        return Progress::Waiting;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) =>
                {
                    return Progress::Waiting;
                }
                Err(_) => return self.broken(),
            }
        }
    }

    fn answered(&mut self, answer: Answer) -> Progress {
        // Bytes behind the answer, or an answer to nothing, belong to no request of ours.
        if answer.length != self.filled {
            return self.broken();
        }
        self.filled = 0;
        match self.in_flight.take() {
            Some((errand, _)) => Progress::Answered(errand, answer),
            None => Progress::Broken(None),
        }
    }

    pub(super) fn broken(&mut self) -> Progress {
        Progress::Broken(self.in_flight.take().map(|(errand, _)| errand))
    }
}
