//! Kinds of endpoints: what to ask one, and how its answers end. Pure: bytes go in, verdicts come
//! out.
//!
//! HAProxy's stats socket is the only kind so far; another is a file beside it.

pub(crate) mod haproxy;
