//! A metric, a batch of them, their names and how HAProxy's fields fold over processes.
//!
//! This crate is the contract between those that make batches and those that send them: neither knows the other.

pub mod batch;
pub mod catalog;
pub mod clean;
pub mod groups;
pub mod receiver_name;
pub mod snapshot;

pub use batch::{Batch, Column, Names, Part, Section, Subject, Value, Values};
pub use receiver_name::ReceiverName;
pub use snapshot::{SnapshotId, Timestamp};
