//! What a long-running program needs and HAProxy has no part in: logging, the end by signal, pauses between tries, clocks.

pub mod backoff;
pub mod clock;
pub mod logging;
pub mod service;
pub mod shutdown;

pub use backoff::Backoff;
pub use clock::Clock;
pub use service::Service;
pub use tracing_subscriber::filter::LevelFilter;
