//! The CPU of a process and of the children that it has waited for, by one system call that neither
//! the standard library nor rustix has.
//!
//! `/proc` counts in ticks of 10 ms and forgets processes that have ended; `wait4` has microseconds
//! and the whole tree. The sum is exact. Its division into user and system time is an estimate of
//! the kernel, made from ticks if it is built without CONFIG_VIRT_CPU_ACCOUNTING_GEN.

#![allow(unsafe_code, reason = "wait4 fills a structure that we hand it, and nothing else")]

use std::io;
use std::mem::MaybeUninit;

/// CPU time in milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cpu {
    pub(crate) user: f64,
    pub(crate) system: f64,
}

impl Cpu {
    pub(crate) fn total(self) -> f64 {
        self.user + self.system
    }
}

/// How a process ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exit {
    pub(crate) cpu: Cpu,
    /// The status was 0.
    pub(crate) well: bool,
}

/// Collects a child of ours; `None` as long as it runs.
pub(crate) fn collect(pid: u32) -> io::Result<Option<Exit>> {
    let pid = libc::pid_t::try_from(pid).map_err(io::Error::other)?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers lead to memory of the right type and size that lives until the call is
    // over, and the kernel writes nothing else.
    let collected = unsafe { libc::wait4(pid, &raw mut status, libc::WNOHANG, usage.as_mut_ptr()) };
    match collected {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        _ => {
            // SAFETY: rusage is plain numbers, for which zeroes are values; wait4 has filled it.
            let usage = unsafe { usage.assume_init() };
            let milliseconds =
                |time: libc::timeval| time.tv_sec as f64 * 1e3 + time.tv_usec as f64 / 1e3;
            let cpu =
                Cpu { user: milliseconds(usage.ru_utime), system: milliseconds(usage.ru_stime) };
            Ok(Some(Exit { cpu, well: status == 0 }))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    fn end_of(script: &str) -> Exit {
        #[expect(clippy::zombie_processes, reason = "collecting it is what is tested")]
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let begin = Instant::now();
        loop {
            if let Some(ended) = collect(child.id()).unwrap() {
                return ended;
            }
            assert!(begin.elapsed() < Duration::from_secs(90));
            thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn the_cpu_of_children_is_counted_and_the_status_returned() {
        let idle = end_of("exit 3");
        assert!(!idle.well);
        // The work is done by a child of the shell.
        let busy = end_of("sh -c 'i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done'; true");
        assert!(busy.well && busy.cpu.total() > idle.cpu.total(), "{busy:?} {idle:?}");
    }

    #[test]
    fn a_process_that_is_no_child_is_an_error() {
        collect(1).unwrap_err();
    }
}
