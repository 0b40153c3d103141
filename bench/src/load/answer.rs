//! The bytes of an answer.

use super::request::OrderId;

/// The most headers an answer may have.
const HEADERS_MAX: usize = 48;

/// What is read of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub status: u16,
    /// Of a Location.
    pub id: Option<OrderId>,
    /// The server ends the connection after it.
    pub closes: bool,
    /// Bytes of head and body.
    pub length: usize,
}

/// Not an answer that this client reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer is not HTTP/1.1 with a Content-Length")]
pub(super) struct Unreadable;

/// Reads the answer at the beginning of `bytes`; `None` where it is not whole yet.
pub(super) fn read(bytes: &[u8]) -> Result<Option<Answer>, Unreadable> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).map_err(|_| Unreadable)? else {
        return Ok(None);
    };
    let status = response.code.ok_or(Unreadable)?;
    let (mut body, mut id, mut closes) = (None, None, false);
    for header in response.headers.iter() {
        let name = header.name;
        if name.eq_ignore_ascii_case("content-length") {
            body = std::str::from_utf8(header.value).ok().and_then(|text| text.parse::<usize>().ok());
        } else if name.eq_ignore_ascii_case("location") {
            id = OrderId::of_location(header.value);
        } else if name.eq_ignore_ascii_case("connection") {
            closes = header.value.eq_ignore_ascii_case(b"close");
        }
    }
    // RFC 9110, 8.6: 204 and 304 have no body and need no length.
    let body = body.or(matches!(status, 204 | 304).then_some(0)).ok_or(Unreadable)?;
    let length = head + body;
    Ok((bytes.len() >= length).then_some(Answer { status, id, closes, length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_once_it_is_whole() {
        let text = b"HTTP/1.1 202 Accepted\r\nlocation: /v1/orders/01K\r\nContent-Length: 2\r\n\r\n{}";
        for cut in 0..text.len() {
            assert_eq!(read(&text[..cut]), Ok(None), "{cut}");
        }
        let answer = read(text).unwrap().unwrap();
        assert_eq!((answer.status, answer.length, answer.closes), (202, text.len(), false));
        assert_eq!(answer.id, OrderId::of_location(b"/01K"));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        assert_eq!(read(b"SSH-2.0-x\r\n\r\n"), Err(Unreadable));
        assert_eq!(read(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), Err(Unreadable));
        assert!(
            read(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
                .unwrap()
                .unwrap()
                .closes
        );
    }
}
