//! The receivers: one section each, `[kind]` or `[kind:name]`, with the options of its kind and
//! the common ones.
//!
//! The unnamed `[graphite]` is on unless `enabled` is false, even if the file lacks the section;
//! any other receiver is on if the file has its section. A section inherits nothing from another
//! section of its kind, only the built-in defaults.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use model::ReceiverName;

use crate::document::Document;
use crate::fault::{Fault, Problem};
use crate::groups::{self, GroupSections};
use crate::interpolate::Resolver;
use crate::kind;
use crate::options::{KnownOption, Opt};
use crate::reader::{Reader, Rejection};
use crate::typed::{Circuit, Naming, Outbox, Receiver, ReceiverKind, Retries};
use crate::{graphite, influxdb, kafka, local_store};

/// Receivers of a file; each costs a process and a folder in the outbox.
const RECEIVERS_MAX: usize = 16;

pub(crate) const ENABLED: Opt<bool> =
    Opt::new("enabled", kind::BOOLEAN, "true", "whether anything is sent to this receiver");
const RETRIES: Opt<Retries> = Opt::new(
    "retries",
    kind::RETRIES,
    "3",
    "quick tries after a failed one, before delay is waited",
);
const INTERVAL: Opt<Duration> =
    Opt::new("interval", kind::PAUSE, "1.8", "pause before the first of them");
const BACKOFF: Opt<f64> =
    Opt::new("backoff", kind::FACTOR, "2", "factor from one pause to the next, 1000 at most");
const DELAY: Opt<Duration> = Opt::new(
    "delay",
    kind::PAUSE,
    "10",
    "pause once the quick tries are used up; no pause is longer",
);
const OUTBOX_SIZE: Opt<u64> = Opt::new(
    "outbox-size",
    kind::BYTES,
    "268435456",
    "bytes that may wait for this receiver on disk; over it the oldest go",
);
pub(crate) const QUEUE_SIZE: Opt<u64> = Opt::unset(
    "queue-size",
    kind::METRIC_COUNT,
    "metrics that may wait for this receiver on disk; over it the oldest go",
);
const OUTBOX_SYNC: Opt<bool> = Opt::new(
    "outbox-sync",
    kind::BOOLEAN,
    "true",
    "sync a batch to the disk before its snapshot goes",
);
const REPLAY_RATE: Opt<u64> = Opt::new(
    "replay-rate",
    kind::METRIC_RATE,
    "50000",
    "metrics per second that leave the outbox once the receiver is back; 0 is no limit",
);

/// The options of every kind of receiver.
pub(crate) const COMMON_OPTIONS: &[KnownOption] = &[
    ENABLED.row,
    RETRIES.row,
    INTERVAL.row,
    BACKOFF.row,
    DELAY.row,
    OUTBOX_SIZE.row,
    QUEUE_SIZE.row,
    OUTBOX_SYNC.row,
    REPLAY_RATE.row,
];

/// An option that receivers had in version 0.1.0.
const OUTBOX_DIR: &str = "outbox-dir";

/// The options of a kind of receiver, and their reader.
pub(crate) struct KindSchema {
    /// The section of the unnamed receiver.
    pub(crate) section: &'static str,
    /// The options in addition to [`COMMON_OPTIONS`].
    pub(crate) options: &'static [KnownOption],
    read: fn(&mut Reader<'_, '_>, &Context<'_>) -> Result<ReceiverKind, Rejection>,
}

pub(crate) const KINDS: [KindSchema; 4] = [
    KindSchema { section: graphite::SECTION, options: graphite::OPTIONS, read: graphite::graphite },
    KindSchema { section: influxdb::SECTION, options: influxdb::OPTIONS, read: influxdb::influxdb },
    KindSchema { section: kafka::SECTION, options: kafka::OPTIONS, read: kafka::kafka },
    KindSchema {
        section: local_store::SECTION,
        options: local_store::OPTIONS,
        read: local_store::local_store,
    },
];

/// The values that receivers read from other sections.
pub(crate) struct Context<'d> {
    pub(crate) groups: GroupSections<'d>,
    /// The naming of the unnamed Graphite, on or off, which a local-store has too. If it is
    /// rejected, so is the section `[graphite]`, which is always read.
    pub(crate) naming: Result<Naming, Rejection>,
}

/// The kind of a receiver's section; `None` for any other section.
pub(crate) fn kind_of(section: &str) -> Option<&'static KindSchema> {
    let (kind, _) = section.split_once(':').unwrap_or((section, ""));
    KINDS.iter().find(|known| known.section == kind)
}

/// Whether a receiver's section takes an option that no table has, for its library.
pub(crate) fn is_library_option(section: &str, option: &str) -> bool {
    option.starts_with(kafka::LIBRARY_PREFIX)
        && kind_of(section).is_some_and(|kind| kind.section == kafka::SECTION)
}

/// The sections of receivers, on or off: first the unnamed Graphite's, then all others in file
/// order.
pub(crate) fn sections(document: &Document) -> Vec<&str> {
    let written = document.sections().map(|section| section.name.as_str());
    let others = written.filter(|name| *name != graphite::SECTION && kind_of(name).is_some());
    std::iter::once(graphite::SECTION).chain(others).collect()
}

/// Reads the receivers that are on, and the naming of the unnamed Graphite. Receivers that are off
/// are read too, to report their faults.
pub(crate) fn read(
    resolver: &mut Resolver<'_>,
    file: &Arc<Path>,
) -> Result<(Vec<Receiver>, Naming), Rejection> {
    let groups = groups::read(resolver);
    let document = resolver.document();
    let is_store =
        |section: &&str| kind_of(section).is_some_and(|kind| kind.section == local_store::SECTION);
    let has_store = sections(document).iter().any(is_store);
    let unnamed = &mut Reader::new(resolver, graphite::SECTION, file);
    // A local-store has the paths of the unnamed Graphite.
    let is_used = has_store || unnamed.value(&ENABLED)?;
    let naming = graphite::naming(unnamed, &groups, is_used);
    let context = Context { groups, naming };
    let mut receivers = Vec::new();
    let mut rejection = None;
    for (index, section) in sections(resolver.document()).into_iter().enumerate() {
        if index == RECEIVERS_MAX {
            let why = format!("more than {RECEIVERS_MAX} receivers; leave out the others");
            rejection = Some(refuse_section(resolver, section, Problem::Conflict { why }));
            break;
        }
        match receiver(resolver, section, file, &context) {
            Ok(Some(receiver)) => receivers.push(receiver),
            Ok(None) => {}
            Err(error) => rejection = Some(error),
        }
    }
    if let Some(rejection) = rejection {
        return Err(rejection);
    }
    if receivers.is_empty() {
        let why = "false, and no other receiver is on: nothing would be sent anywhere; write \
                   true, or add another receiver such as the section [local-store]"
            .to_owned();
        let unnamed = &mut Reader::new(resolver, graphite::SECTION, file);
        return Err(unnamed.refuse(&ENABLED, Problem::Conflict { why }));
    }
    Ok((receivers, context.naming?))
}

/// Reads one section; `None` if the receiver is off.
fn receiver(
    resolver: &mut Resolver<'_>,
    section: &str,
    file: &Arc<Path>,
    context: &Context<'_>,
) -> Result<Option<Receiver>, Rejection> {
    let name: Result<ReceiverName, Rejection> = section
        .parse()
        .map_err(|error| refuse_section(resolver, section, Problem::Receiver(error)));
    if let Some(entry) = resolver.document().entry(section, OUTBOX_DIR) {
        resolver.record(Fault {
            place: entry.place.clone(),
            section: Some(section.to_owned()),
            option: Some(entry.option.clone()),
            problem: Problem::OutboxDirMoved,
        });
    }
    let Some(kind) = kind_of(section) else { return Ok(None) };
    let mut reader = Reader::new(resolver, section, file);
    let enabled = reader.value(&ENABLED)?;
    let circuit = Circuit {
        retries: reader.value(&RETRIES)?,
        interval: reader.value(&INTERVAL)?,
        backoff: reader.value(&BACKOFF)?,
        delay: reader.value(&DELAY)?,
    };
    let outbox = Outbox {
        size_bytes: reader.value(&OUTBOX_SIZE)?,
        metrics: reader.optional(&QUEUE_SIZE),
        replay_rate: reader.value(&REPLAY_RATE)?,
        sync: reader.value(&OUTBOX_SYNC)?,
    };
    let kind = (kind.read)(&mut reader, context)?;
    let receiver = Receiver { name: name?, circuit, outbox, kind };
    Ok(enabled.then_some(receiver))
}

/// Records a fault of a section as a whole.
fn refuse_section(resolver: &mut Resolver<'_>, section: &str, problem: Problem) -> Rejection {
    if let Some(header) = resolver.document().section(section) {
        resolver.record(Fault {
            place: header.place.clone(),
            section: Some(section.to_owned()),
            option: None,
            problem,
        });
    }
    Rejection
}
