//! The send child: it delivers batches to one receiver.
//!
//! Of the outbox of version 0.1.0 there can be lines of Graphite in place of a batch, compressed by
//! gzip: they are sent as they are.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::fd::OwnedFd;

use config::ReceiverKind;
use daemon::Clock;
use flate2::bufread::GzDecoder;
use model::{Column, Nature, SnapshotId, Table, TableKind, Timestamp, form};
use receivers::graphite::{Encoder, Paths, encode};
use receivers::{Graphite, Lines, LocalStore};

use super::{Error, Work};
use crate::core::{Order, Reply};
use crate::outbox::old::is_compressed;

/// See the module.
#[derive(Debug)]
pub(super) struct SendChild {
    transport: Transport,
    paths: Paths,
    host: String,
}

#[derive(Debug)]
enum Transport {
    Graphite(Graphite),
    LocalStore(LocalStore),
}

const BUFFER_BYTES: usize = 64 << 10;

impl SendChild {
    pub(super) fn new(
        config: &config::Process,
        index: usize,
        host: &str,
        clock: Clock,
    ) -> Result<Self, String> {
        let Some(receiver) = config.receivers.get(index) else {
            return Err(format!("there is no receiver {index}; please report this"));
        };
        let is_only = config.receivers.len() == 1;
        let (transport, naming) = match &receiver.kind {
            ReceiverKind::Graphite(graphite) => {
                (Transport::Graphite(Graphite::new(graphite.clone(), clock)), &graphite.naming)
            }
            ReceiverKind::LocalStore(store) => {
                let store_transport = LocalStore::new(store.clone(), clock, is_only);
                (Transport::LocalStore(store_transport), &store.naming)
            }
        };
        let paths = Paths::new(naming).map_err(|error| error.to_string())?;
        Ok(Self { transport, paths, host: host.to_owned() })
    }

    fn send(&mut self, batch: OwnedFd) -> Reply {
        let file = File::from(batch);
        if is_compressed(&file) {
            // The lines bear their own timestamps.
            let lines = OldLines { file: &file };
            return self.transport.deliver(&Timestamp::of_seconds(0), &lines);
        }
        let id = match form::Reader::new(form::FileView::new(&file)) {
            Ok(reader) => reader.header().id.clone(),
            Err(error) => return Reply::Damaged { reason: error.to_string() },
        };
        let lines = FormLines { file: &file, paths: &self.paths, id: &id };
        self.transport.deliver(&id.timestamp, &lines)
    }

    fn send_own(&mut self, timestamp: &Timestamp, figures: Vec<(String, u64)>) -> Reply {
        let column = |(name, value): (String, u64)| {
            Column::integers(name, Nature::Gauge, None, [Some(i128::from(value))])
        };
        let columns = figures.into_iter().map(column).collect();
        let table = Table::of_one_row(TableKind::Own, columns);
        let id = SnapshotId { origin: self.host.clone(), timestamp: timestamp.clone(), serial: 0 };
        let mut lines = Vec::new();
        encode(&[table], &self.paths, &id, &mut lines);
        self.transport.deliver(timestamp, &lines)
    }
}

impl Transport {
    fn deliver(&mut self, timestamp: &Timestamp, lines: &dyn Lines) -> Reply {
        let delivered = match self {
            Self::Graphite(graphite) => graphite.deliver(lines),
            Self::LocalStore(store) => store.deliver(timestamp.as_str(), lines),
        };
        match delivered {
            Ok(()) => Reply::Delivered,
            Err(receivers::Error::Unreadable { source, .. }) => {
                Reply::Damaged { reason: source.to_string() }
            }
            Err(error) => Reply::Refused { reason: error.to_string() },
        }
    }
}

impl Work for SendChild {
    fn work(
        &mut self,
        order: Order,
        batch: Option<OwnedFd>,
    ) -> Result<(Reply, Option<OwnedFd>), Error> {
        let reply = match (order, batch) {
            (Order::Send, Some(batch)) => self.send(batch),
            (Order::SendOwn { timestamp, figures }, _) => self.send_own(&timestamp, figures),
            (order, _) => return Err(Error::WrongOrder(format!("{order:?}"))),
        };
        Ok((reply, None))
    }
}

/// The lines of a batch, made as they are read.
#[derive(Debug)]
struct FormLines<'a> {
    file: &'a File,
    paths: &'a Paths,
    id: &'a SnapshotId,
}

impl Lines for FormLines<'_> {
    fn bytes(&self) -> Option<u64> {
        None
    }

    fn open(&self) -> io::Result<Box<dyn BufRead + '_>> {
        let damaged = |error: form::Error| io::Error::new(ErrorKind::InvalidData, error);
        let reader = form::Reader::new(form::FileView::new(self.file)).map_err(damaged)?;
        Ok(Box::new(Encoder::new(self.paths, self.id, reader).map_err(damaged)?))
    }
}

/// Lines that version 0.1.0 stored.
#[derive(Debug)]
struct OldLines<'a> {
    file: &'a File,
}

impl OldLines<'_> {
    fn decoder(&self) -> GzDecoder<BufReader<form::FileView<'_>>> {
        let view = form::FileView::new(self.file);
        GzDecoder::new(BufReader::with_capacity(BUFFER_BYTES, view))
    }
}

impl Lines for OldLines<'_> {
    fn bytes(&self) -> Option<u64> {
        None
    }

    fn open(&self) -> io::Result<Box<dyn BufRead + '_>> {
        // Read once to nowhere, so that what is sent afterwards has passed gzip's CRC.
        let checked = io::copy(&mut self.decoder(), &mut io::sink());
        checked.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, self.decoder())))
    }
}
