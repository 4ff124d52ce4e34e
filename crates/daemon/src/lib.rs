//! The parts of a long-running program that have nothing to do with HAProxy: logging, the end by
//! signal, pauses between tries, clocks, name look-ups, locks of directories, files in directories
//! of others, classes of errors and their remedies, a server for monitors.

pub mod backoff;
pub mod clock;
pub mod conditions;
pub mod errno;
pub mod file;
pub mod lock;
pub mod logging;
pub mod lookup;
pub mod monitor;
pub mod remedy;
pub mod service;
pub mod shutdown;

pub use backoff::Backoff;
pub use clock::Clock;
pub use conditions::Conditions;
pub use service::Service;
pub use tracing_subscriber::filter::LevelFilter;
