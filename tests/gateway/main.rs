//! The payment gateway's client against the sandbox and against a server that does what a test says; and the sandbox
//! itself, in the process and as a command.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod answers;
mod command;
mod misfortunes;
mod outages;
// Of what the engine is told to, this needs the same.
#[allow(dead_code)]
#[path = "../engine/support/receiver.rs"]
mod receiver;
mod sandbox;
mod scripted;
mod shop;
mod webhooks;
