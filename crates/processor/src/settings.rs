//! The settings of the core, from the configuration.

use config::{Confirm, ReceiverKind};
use receivers::graphite::try_limit;

use crate::core::{CircuitSettings, CoreSettings, ReceiverSettings};

/// Batches that a Graphite may have in flight at once: each is confirmed after some round trips,
/// and the next batches are sent meanwhile.
pub(crate) const GRAPHITE_IN_FLIGHT: usize = 4;

/// The settings of the core.
pub(crate) fn of_core(config: &config::Process) -> CoreSettings {
    let receivers = config.receivers.iter().map(|receiver| of_receiver(config, receiver));
    CoreSettings {
        workers: config.workers,
        // No fold has state yet.
        folds_in_order: false,
        fold_limit: config.job_timeout,
        look_interval: config.liveness_check_interval,
        receivers: receivers.collect(),
        src_dir: config.src_dir.display().to_string(),
        failed_dir: config.failed_dir.display().to_string(),
        seed: fastrand::u64(..),
    }
}

fn of_receiver(config: &config::Process, receiver: &config::Receiver) -> ReceiverSettings {
    let config::Circuit { retries, interval, backoff, delay } = receiver.circuit;
    let (takes_figures, limits, end_grace) = match &receiver.kind {
        ReceiverKind::Graphite(graphite) => {
            let until_written = graphite.connect_timeout + graphite.write_timeout;
            // A batch tries further servers until the limit of one try is used up; then the last
            // one has a limit of its own.
            let tries = if graphite.servers.len() > 1 { 2 } else { 1 };
            (true, try_limit(graphite) * tries, until_written * tries)
        }
        ReceiverKind::InfluxDb(influxdb) => {
            let until_written = influxdb.connect_timeout + influxdb.write_timeout;
            (true, until_written + influxdb.timeout, until_written)
        }
        ReceiverKind::Kafka(kafka) => {
            let until_connected = kafka.connect_timeout + kafka.write_timeout;
            (true, until_connected + kafka.confirm_timeout, until_connected)
        }
        ReceiverKind::LocalStore(_) => Default::default(),
    };
    ReceiverSettings {
        name: receiver.name.to_string(),
        prefix: prefix(&receiver.name),
        is_local_store: matches!(receiver.kind, ReceiverKind::LocalStore(_)),
        circuit: CircuitSettings { retries, interval, backoff, delay },
        outbox_bytes: receiver.outbox.size_bytes,
        outbox_points: receiver.outbox.metrics,
        replay_rate: receiver.outbox.replay_rate,
        sync: receiver.outbox.sync,
        takes_figures,
        in_flight_max: in_flight_max(receiver),
        send_limit: config.job_timeout + limits,
        end_grace,
    }
}

/// Batches that a receiver may have in flight at once. With a lasting connection it is one: a peer
/// that has acknowledged a batch may still read a later one of another connection first.
pub(crate) const fn in_flight_max(receiver: &config::Receiver) -> usize {
    match &receiver.kind {
        ReceiverKind::Graphite(graphite) => match graphite.confirm {
            Confirm::Close => GRAPHITE_IN_FLIGHT,
            Confirm::Tcp | Confirm::None => 1,
        },
        ReceiverKind::InfluxDb(_) | ReceiverKind::Kafka(_) | ReceiverKind::LocalStore(_) => 1,
    }
}

/// The prefix of the figures about a receiver. The unnamed Graphite has none, because dashboards
/// know its figures by their plain names.
fn prefix(name: &model::ReceiverName) -> String {
    match name.to_string().as_str() {
        "graphite" => String::new(),
        name => format!("{}.", name.replace(':', "_")),
    }
}
