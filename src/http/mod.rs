//! The HTTP/1.1 shell: sockets, limits, request parts and problem details; and the client for other people's servers.
//!
//! It knows HTTP and nothing of sales: a route is a function from a request to a response,
//! written elsewhere. What a client may learn of a failure is chosen here, in one table
//! ([`ProblemKind`]), and never formatted from an internal error.

mod activity;
mod bearer;
mod body;
mod client;
mod connection;
mod event_stream;
mod head_watch;
mod limits;
mod listen;
mod path;
mod problem;
mod problem_kind;
mod response;
mod server;
mod watched_stream;

pub use bearer::{BearerToken, BearerTokenError};
pub use body::{BodyError, read_body};
pub use client::{ClientError, HttpClient, Reply};
pub use event_stream::{Event, Events, event_stream};
pub use limits::HttpLimits;
pub use listen::{listen, raise_open_files};
pub use path::{PathError, PathSegments, decode_segment};
pub use problem::{FieldError, Problem};
pub use problem_kind::ProblemKind;
pub use response::{Body, empty, json, whole};
pub use server::{Drained, OpenConnections, Served, serve, serve_counted};
