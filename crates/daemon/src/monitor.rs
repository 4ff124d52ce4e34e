//! A server for monitors: one line per request, as zc.monitor speaks it, over TCP or a UNIX socket.
//!
//! HAProxy checks a program with it (`option tcp-check`), and a person asks it with `nc`. The
//! dialogue ([`Session`]) and the figures ([`History`]) work on bytes and numbers alone.
//! [`serve()`] carries the bytes, [`Listener`] takes the address, and a program leaves its state on
//! a [`Board`]. What a client sends costs a bounded piece of memory and time, whatever it is. The
//! letters OK are in the answer of a healthy program and in no other one, because a check searches
//! for them anywhere.

mod board;
mod history;
mod listener;
mod serve;
mod session;

pub use board::{Board, Vitals};
pub use history::{FigureName, HISTORY_SECONDS, History, Nature};
pub use listener::{ListenError, Listener};
pub use serve::serve;
pub use session::{Health, Session, Step, Subject};
