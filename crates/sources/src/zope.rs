//! The monitor of a Zope instance: zc.monitor with ftw.monitor, whose command `perf_metrics`
//! answers one line of JSON and closes.
//!
//! An endpoint has two names, those of its deployment and of its instance. Both are in the name of
//! its file (module `name`). Values keep the text that the instance gave them, and rows have the
//! form of the script `dump-perf-metrics` that haproxystats replaces.

pub mod ask;
mod document;
mod name;
mod read;

pub use name::endpoint_name;
pub(crate) use read::read;

/// What an instance is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// The name of the database; `-` stands for `main`. One word.
    pub database: &'static str,
    /// The seconds over which loads, stores and connections are counted.
    pub sampling_seconds: u16,
}

impl Request {
    /// What `perf_metrics` without arguments stands for.
    pub const DEFAULT: Self = Self { database: "main", sampling_seconds: 300 };
}

/// The ending of the file of an instance.
pub(crate) const SUFFIXES: [&str; 1] = [SUFFIX];
const SUFFIX: &str = "_zope";

pub(crate) const LEFT_OUT: &str = "left out: it is no monitor of a Zope instance";
pub(crate) const NO_INSTANCE: &str = "no snapshot: no folder of deployments in [zope] has an \
                                      instance; correct the pattern, or name the instances in \
                                      servers";
