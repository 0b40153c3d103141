//! Room for a crowd: connections that wait to be accepted, and files that may be open.

use std::io;
use std::net::SocketAddr;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::net::{TcpListener, TcpSocket};

/// Connections that wait to be accepted: as many as the kernel grants (listen(2), `net.core.somaxconn`). Buyers come all at
/// once, and whoever finds the queue full tries again a second later.
const ACCEPT_QUEUE: u32 = i32::MAX.cast_unsigned();

/// Listens on an address, with the longest queue that the kernel grants.
///
/// # Errors
/// From the socket: the address is taken, or not ours.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // A node that is started again need not wait for connections of the last one.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(ACCEPT_QUEUE)
}

/// Lets this process open as many files as it may (setrlimit(2)): the soft limit is 1,024 by default, and a connection is a
/// file. Answers with the limit that holds now.
///
/// # Errors
/// Where there is no such limit to be asked for.
pub fn raise_open_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    Ok(if raised { hard } else { soft })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_util::future::try_join_all;
    use tokio::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_crowd_connects_while_nobody_accepts() {
        let files = raise_open_files().unwrap();
        let granted = std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok();
        let granted = granted.and_then(|granted| granted.trim().parse().ok()).unwrap_or(128);
        let crowd = 2_000.min(granted).min(files / 2);
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = try_join_all((0..crowd).map(|_| TcpStream::connect(address)));
        let connected = tokio::time::timeout(Duration::from_secs(30), connections).await;
        assert_eq!(connected.expect("the queue is too short").unwrap().len() as u64, crowd);
    }
}
