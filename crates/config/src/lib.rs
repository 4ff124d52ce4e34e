//! The configuration file: what was written, what it means, what is wrong with it.
//!
//! The file is INI as Python's ConfigParser with ExtendedInterpolation reads it. [`load`] takes
//! files to typed values in one step and reports every fault of every file, so that a program never
//! runs on half a configuration and an operator never repairs one fault after the other.

mod directories;
mod document;
mod fault;
mod interpolate;
mod load;
mod nearest;
mod print;
mod process;
mod pull;
mod reader;
mod scan;
mod table;
mod typed;
mod unknown;
mod values;

pub use directories::{Overlap, Relation};
pub use document::Document;
pub use fault::{Fault, Faults, Place, Problem, Warning};
pub use load::{Config, DEFAULT_FILE, Program, Sources, load};
pub use print::{print_defaults, print_in_force};
pub use table::{Bounds, GROUP_SECTIONS, Kind, KnownOption, NO_EFFECT, known_options};
pub use typed::{
    Address, Confirm, Graphite, GroupRule, Groups, HostPart, LocalStore, LogLevel, Naming, Outbox,
    PartialInput, Process, Pull, Retries, Selection, Tables,
};
