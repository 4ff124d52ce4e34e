//! The configuration file: its text, its values in types, its faults.
//!
//! The file is INI as Python's ConfigParser with ExtendedInterpolation reads it. [`load`] takes
//! files to typed values in one step and reports every fault of every file, so that a program never
//! runs on half a configuration and an operator sees all faults at once.

mod directories;
mod document;
mod fault;
mod graphite;
mod groups;
mod influxdb;
mod interpolate;
mod kafka;
mod kind;
mod load;
mod local_store;
mod nearest;
mod options;
mod print;
mod process;
mod pull;
mod reader;
mod receivers;
mod scan;
mod secret;
mod server_list;
mod shared;
mod tags;
mod tls;
mod typed;
mod unknown;
mod url;
mod uwsgi;
mod values;
mod zope;

pub use directories::{Overlap, Relation};
pub use document::Document;
pub use fault::{Fault, Faults, Place, Problem, Warning};
pub use kind::{Bounds, Kind};
pub use load::{Config, DEFAULT_FILE, Program, Sources, load};
pub use options::{GROUP_SECTIONS, KnownOption, NO_EFFECT, known_options};
pub use print::{print_defaults, print_in_force};
pub use typed::{
    Address, Circuit, Cluster, Confirm, Graphite, GroupRule, GroupRules, Groups, Gzip, HostPart,
    InfluxApi, InfluxDb, InfluxTarget, Kafka, KafkaFormat, KafkaLogin, KafkaSecurity,
    LinesPerMessage, Listen, LocalStore, LogLevel, MessageKey, Naming, Outbox, PartialInput,
    Process, Pull, Receiver, ReceiverKind, Retries, Selection, Tables, Tls, Uwsgi, UwsgiServer,
    Zope, ZopeInstance,
};
pub use url::Url;
