use std::num::NonZeroU32;
use std::time::Duration;

/// What one listener lets a client take. Each bound closes one way of holding a node's
/// sockets or memory without buying anything.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// Open connections at once. Further ones wait in the kernel's accept queue: a slot is
    /// taken before `accept`, so that no socket is open without one.
    pub connections_max: NonZeroU32,
    /// From the first wait for a request's head to its last byte, or up to a quarter longer. It is also how long an idle
    /// keep-alive connection stays.
    pub header_timeout: Duration,
    /// Header fields of one request; above it hyper answers 431 and closes.
    pub headers_max: usize,
    /// Bytes of one request's head, and of the read buffer; at least 8192 (hyper's lowest).
    pub header_max_bytes: usize,
    /// Bytes of one request's body; above it the answer is 413.
    pub body_max_bytes: usize,
    /// From the handler's first read of the body to its last byte; above it the answer is 408.
    pub body_timeout: Duration,
    /// How long answered bytes may stay unread by the client before its connection is dropped
    /// (`TCP_USER_TIMEOUT`, Linux only). Without it a client that never reads keeps its slot.
    pub write_timeout: Duration,
    /// From the shutdown signal to the moment when unfinished connections are cut.
    pub shutdown_deadline: Duration,
}

impl HttpLimits {
    /// hyper refuses smaller buffers with a panic, so a smaller setting is raised to this.
    pub(super) const HEADER_MIN_BYTES: usize = 8192;
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            connections_max: NonZeroU32::MIN.saturating_add(9_999),
            header_timeout: Duration::from_secs(15),
            headers_max: 64,
            header_max_bytes: 16 * 1024,
            body_max_bytes: 16 * 1024,
            body_timeout: Duration::from_secs(5),
            write_timeout: Duration::from_secs(15),
            shutdown_deadline: Duration::from_secs(10),
        }
    }
}
