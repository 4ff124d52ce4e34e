//! What a long-running program needs and HAProxy has no part in: logging, the end by signal, pauses
//! between tries, clocks, name look-ups, locks of directories, files that others can touch, classes
//! of errors and remedies for them.

pub mod backoff;
pub mod clock;
pub mod conditions;
pub mod errno;
pub mod file;
pub mod lock;
pub mod logging;
pub mod lookup;
pub mod remedy;
pub mod service;
pub mod shutdown;

pub use backoff::Backoff;
pub use clock::Clock;
pub use conditions::Conditions;
pub use service::Service;
pub use tracing_subscriber::filter::LevelFilter;
