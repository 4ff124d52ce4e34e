//! The page of metrics for Prometheus: text format 0.0.4 and OpenMetrics 1.0.
//!
//! Names, labels and types are those of promex, HAProxy's own exporter, or those of
//! haproxy_exporter. Encoding is pure: the newest batch of each origin in, bytes out. The batches
//! must be folded with all columns and with the states of servers; [`fold_options`] sets that. A
//! value that a batch lacks has no sample, where promex writes `NaN`.

mod names;
mod page;
mod query;
mod sample;
#[cfg(test)]
mod tests;

pub use names::Names;
pub use page::{Exposition, Page, fold_options};
pub use query::{Query, QueryError};
