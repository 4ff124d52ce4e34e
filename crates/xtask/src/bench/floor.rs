//! The floor: the least cost of any program that reads these files and sends that many bytes.
//!
//! The floor is a separate process, so that its CPU is counted like the CPU of the programs. It
//! opens and reads each file once through one buffer, looks at every byte once, and sends each
//! snapshot over a new connection, whose close it awaits: this confirms the delivery, and costs
//! twice as much as one lasting connection. It knows no rows, sums or names, and deletes nothing.

use std::fs::{self, File};
use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;

use crate::Failure;

/// The options of `floor`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The directory of a snapshot
    directory: PathBuf,
    /// How often the directory is read
    snapshots: u64,
    /// How many bytes are sent for each snapshot
    bytes: u64,
    /// The port of the receiver
    port: u16,
}

/// The name of the task.
pub(crate) const TASK: &str = "floor";

/// Fits into the second-level cache, like the buffer that haproxystats reads through.
const BUFFER: usize = 1 << 18;

pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let failed = |error: std::io::Error| format!("the floor: {error}");
    let entries = fs::read_dir(&options.directory).map_err(failed)?;
    let files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    let mut buffer = vec![0; BUFFER];
    let payload = vec![b'x'; BUFFER];
    for _ in 0..options.snapshots {
        for path in &files {
            let mut file = File::open(path).map_err(failed)?;
            while let count @ 1.. = file.read(&mut buffer).map_err(failed)? {
                black_box(newlines(&buffer[..count]));
            }
        }
        let mut stream = TcpStream::connect(("127.0.0.1", options.port)).map_err(failed)?;
        let mut left = options.bytes;
        while left > 0 {
            let count = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
            stream.write_all(&payload[..count]).map_err(failed)?;
            left -= count as u64;
        }
        stream.shutdown(Shutdown::Write).map_err(failed)?;
        while stream.read(&mut buffer).map_err(failed)? > 0 {}
    }
    Ok(())
}

/// The number of lines that end in these bytes. The compiler makes vector instructions of lanes of
/// one byte each, which are emptied before they can overflow.
pub(crate) fn newlines(bytes: &[u8]) -> u64 {
    const LANES: usize = 64;
    const TURNS: usize = u8::MAX as usize;
    let mut total = 0;
    for block in bytes.chunks(LANES * TURNS) {
        let mut counts = [0_u8; LANES];
        let lanes = block.chunks_exact(LANES);
        let rest = lanes.remainder();
        for lane in lanes {
            for (count, byte) in counts.iter_mut().zip(lane) {
                *count += u8::from(*byte == b'\n');
            }
        }
        total += counts.iter().map(|count| u64::from(*count)).sum::<u64>();
        total += rest.iter().filter(|byte| **byte == b'\n').count() as u64;
    }
    total
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_as_a_simple_loop_counts_them() {
        let mut random = fastrand::Rng::with_seed(3);
        for length in [0, 1, 63, 64, 65, 16_319, 16_320, 16_321, 50_000] {
            let bytes: Vec<u8> = (0..length).map(|_| random.u8(8..12)).collect();
            let slow = bytes.iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(newlines(&bytes), slow as u64, "{length}");
        }
        assert_eq!(newlines(&[b'\n'; 40_000]), 40_000);
    }
}
