//! What `--version` prints.

use config::Program;

/// The version, and the features that were chosen when haproxystats-process was built.
pub(crate) fn of(program: Program) -> String {
    let version = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION"));
    let features = if cfg!(feature = "kafka") { "kafka" } else { "none" };
    match program {
        Program::Pull => format!("{version}\n"),
        Program::Process => format!("{version}\nfeatures: {features}\n"),
    }
}
