//! Free TCP ports on 127.0.0.1.

use std::net::{Ipv4Addr, TcpListener};

use super::ServersError;

/// Below the ports that systems give to outgoing connections (32768 up on Linux, 49152 up by
/// RFC 6335). A client that keeps reconnecting to a *stopped* server on a port within that range
/// can be given the very same port as its own, connect to itself and so keep the server from
/// coming back.
const PORTS: std::ops::Range<u16> = 15_000..32_000;
const ATTEMPTS: u32 = 64;

/// A port that was free a moment ago. Another process may take it before the server binds it,
/// so whoever starts a server on it tries again on another.
///
/// # Errors
/// [`ServersError::NoFreePort`] after 64 ports were found taken.
pub fn free_port() -> Result<u16, ServersError> {
    (0..ATTEMPTS)
        .map(|_| fastrand::u16(PORTS))
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .ok_or(ServersError::NoFreePort { attempts: ATTEMPTS })
}
