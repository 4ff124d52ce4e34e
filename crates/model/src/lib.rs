//! A batch of folded metrics, its form between processes and on disk, and how HAProxy's fields fold
//! over processes.
//!
//! This crate is the contract between the crates that make batches and those that send them, which
//! do not know each other.

pub mod batch;
pub mod catalog;
pub mod clean;
pub mod column;
pub mod cursor;
pub mod form;
pub mod layout;
pub mod receiver_name;
pub mod snapshot;
pub mod texts;

pub use batch::{Batch, Table, TableKind};
pub use catalog::{Fold, Nature};
pub use column::{Column, Integers, Value, Values};
pub use cursor::{BatchCursor, Cursor};
pub use layout::Layout;
pub use receiver_name::ReceiverName;
pub use snapshot::{SnapshotId, Timestamp};
pub use texts::{Names, Texts};
