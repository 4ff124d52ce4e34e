//! `cargo xtask fuzz`: libFuzzer on the readers and the configuration, for a bounded time.
//!
//! It needs no nightly compiler, because the stable one has the passes that guide libFuzzer. Only
//! our own crates are instrumented: otherwise the fuzzer would explore polars. Cargo has no option
//! for that, so this program acts as the compiler's wrapper. Inputs that crash go to
//! `fuzz/artifacts`; once the fault is repaired they go to `fuzz/regressions/<target>`, with which
//! each run begins.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::value_parser;

use crate::{Failure, cargo, root};

/// Makes this program the compiler's wrapper.
const WRAPPER_VARIABLE: &str = "XTASK_WRAPS_RUSTC";
/// The crates that are instrumented begin with this name; the reader of INI files is too.
const OWN_CRATES: &str = "haproxystats_";
const OTHER_CRATES: [&str; 1] = ["ini"];
const INSTRUMENTATION: [&str; 5] = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];
const TARGETS: [&str; 4] = ["configuration", "info", "sources", "stat"];

/// The options of `fuzz`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// How long each target runs, in seconds
    // libFuzzer would take 0 for no limit.
    #[arg(
        long,
        value_name = "N",
        default_value = "60",
        value_parser = value_parser!(u64).range(1..)
    )]
    seconds: u64,
    /// Repeat the inputs of the run that printed this seed
    #[arg(long, value_name = "N")]
    seed: Option<u32>,
    /// The targets to run; all targets if no target is named
    #[arg(value_name = "TARGET", value_parser = TARGETS)]
    targets: Vec<String>,
}

/// Builds the targets and runs each for its time.
pub(crate) fn run(options: &Options) -> Result<(), Failure> {
    let folder = target_folder();
    println!(
        "xtask: building; the first time takes some minutes, and a C++ compiler for libFuzzer"
    );
    let program = std::env::current_exe().map_err(|error| format!("our own path: {error}"))?;
    let mut build = cargo();
    build.args(["build", "--release", "--manifest-path", "fuzz/Cargo.toml", "--target-dir"]);
    build.arg(&folder).env("RUSTC_WRAPPER", program).env(WRAPPER_VARIABLE, "1");
    let status = build.status().map_err(|error| format!("cargo build: {error}"))?;
    if !status.success() {
        return Err(format!("cargo build ended with {status}"));
    }
    let named = options.targets.iter().map(String::as_str);
    let targets = if options.targets.is_empty() { TARGETS.to_vec() } else { named.collect() };
    let mut failed = Vec::new();
    for target in targets {
        if !fuzz(target, &folder, options)? {
            failed.push(target);
        }
    }
    if failed.is_empty() {
        println!("xtask: nothing found");
        Ok(())
    } else {
        Err(format!("found in {}: see fuzz/artifacts", failed.join(", ")))
    }
}

/// Runs a target; false if it found a fault.
fn fuzz(target: &str, folder: &Path, options: &Options) -> Result<bool, Failure> {
    let make = |path: PathBuf| match fs::create_dir_all(&path) {
        Ok(()) => Ok(path),
        Err(error) => Err(format!("{}: {error}", path.display())),
    };
    let corpus = make(folder.join("corpus").join(target))?;
    let scratch = make(scratch_folder(target))?;
    let artifacts = make(root().join("fuzz/artifacts"))?;
    let seeds = make(folder.join("seeds").join(target))?;
    copy_seeds(target, &seeds)?;
    let seed = options.seed.unwrap_or_else(std::process::id);
    println!("\nxtask: {target}, {} s, --seed {seed}", options.seconds);
    let mut command = Command::new(folder.join("release").join(format!("fuzz-{target}")));
    command
        .arg(format!("-max_total_time={}", options.seconds))
        .arg(format!("-seed={seed}"))
        .arg(format!("-artifact_prefix={}/{target}-", artifacts.display()))
        .arg(format!("-dict={}", root().join("fuzz/tokens.dict").display()))
        .args(["-max_len=16384", "-timeout=10", "-rss_limit_mb=2048", "-print_final_stats=1"])
        .arg(corpus)
        .arg(seeds)
        .env("FUZZ_FOLDER", &scratch)
        .env("POLARS_MAX_THREADS", "1");
    let regressions = root().join("fuzz/regressions").join(target);
    if regressions.is_dir() {
        command.arg(regressions);
    }
    let status = command.status();
    // Files of a few bytes that stay do no harm.
    let _ = fs::remove_dir_all(&scratch);
    Ok(status.map_err(|error| format!("fuzz-{target}: {error}"))?.success())
}

/// Copies the inputs that a target begins with: recorded dumps, or the example configurations.
fn copy_seeds(target: &str, seeds: &Path) -> Result<(), Failure> {
    let mut files = Vec::new();
    let place = root().join(match target {
        "configuration" => "examples",
        "sources" => "crates/sources/src",
        _ => "tests/data",
    });
    collect(&place, &mut files).map_err(|error| format!("{}: {error}", place.display()))?;
    let wanted = |path: &&PathBuf| {
        let name = path.to_string_lossy();
        match target {
            "configuration" => name.ends_with(".conf"),
            "sources" => name.contains("/dumps/"),
            _ => name.ends_with(&format!(".show_{target}.txt")),
        }
    };
    for (number, file) in files.iter().filter(wanted).enumerate() {
        fs::copy(file, seeds.join(number.to_string()))
            .map_err(|error| format!("{}: {error}", file.display()))?;
    }
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

/// The folder of the files that hold one input, in memory where the system has a place for that.
fn scratch_folder(target: &str) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let place = if memory.is_dir() { memory } else { std::env::temp_dir() };
    place.join(format!("haproxystats-fuzz-{target}-{}", std::process::id()))
}

/// A target folder of its own, so that no other build takes an instrumented crate for a plain one.
fn target_folder() -> PathBuf {
    let own = root().join("fuzz/target");
    std::env::var_os("CARGO_TARGET_DIR").map_or(own, |shared| PathBuf::from(shared).join("fuzz"))
}

/// Becomes the compiler when Cargo calls this program as its wrapper. Returns `None` for any other
/// call, and a status only if the compiler cannot be run.
pub(crate) fn compile() -> Option<ExitCode> {
    std::env::var_os(WRAPPER_VARIABLE)?;
    let mut words = std::env::args_os().skip(1);
    let compiler = words.next()?;
    let words: Vec<OsString> = words.collect();
    let name = words.iter().position(|word| word == "--crate-name").map(|at| at + 1);
    let name = name.and_then(|at| words.get(at)).and_then(|name| name.to_str()).unwrap_or("");
    let mut command = Command::new(compiler);
    command.args(words.iter());
    if name.starts_with(OWN_CRATES) || OTHER_CRATES.contains(&name) {
        command.args(INSTRUMENTATION);
    }
    eprintln!("xtask: the compiler: {}", command.exec());
    Some(ExitCode::FAILURE)
}
