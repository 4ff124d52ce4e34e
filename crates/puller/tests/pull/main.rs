//! haproxystats-pull from the outside: fake stats sockets on one side, the two directories on the
//! other.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    reason = "a failed step fails the test; a test that cannot run here says so"
)]

mod check;
mod cycles;
mod disk;
mod endings;
mod fake;
mod faults;
mod frozen;
mod kinds;
mod logging;
mod masters;
mod natures;
mod once;
mod partial;
mod workbench;

use tokio::task::LocalSet;

/// Runs a test on one thread, which the fakes and the program share.
fn on_one_thread(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(LocalSet::new().run_until(test));
}
