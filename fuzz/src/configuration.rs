//! The configuration: whatever a file holds, loading it gives values or faults, and the printed
//! values give the same values again.

#![no_main]

#[path = "scratch.rs"]
mod scratch;

use config::{Program, Sources, load, print_in_force};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let sources = |bytes: &[u8]| Sources { file: scratch::file("fuzzed.conf", bytes), dir: None };
    let config = match load(&sources(bytes)) {
        Ok(config) => config,
        Err(faults) => {
            assert!(faults.iter().count() > 0);
            assert!(!faults.to_string().is_empty());
            return;
        }
    };
    // What pull prints is only a part of the configuration, which can be invalid by itself.
    let printed = print_in_force(&config.document, Program::Process);
    match load(&sources(printed.as_bytes())) {
        Ok(again) => {
            assert_eq!(again.process, config.process);
            assert_eq!(print_in_force(&again.document, Program::Process), printed);
        }
        Err(faults) => panic!("{printed}\n{faults}"),
    }
});
