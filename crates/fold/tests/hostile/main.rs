//! Hostile input: whatever lies in a snapshot costs itself alone, is told by name and leaves memory
//! and time bounded.

#![allow(clippy::unwrap_used, reason = "test code outside of test functions")]

mod bounds;
mod info;
mod mutations;
mod stat;
mod twin;
mod workbench;
