//! The send child: it delivers batches to one receiver, several at once if each waits for its
//! confirmation.
//!
//! A file that version 0.1.0 left in the outbox has Graphite's lines, compressed by gzip, in
//! place of a batch. They are sent unchanged.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::ReceiverKind;
use crossbeam_channel::Receiver;
use daemon::Clock;
use daemon::shutdown::ChildSignals;
use flate2::bufread::GzDecoder;
use model::{Batch, BatchCursor, Column, Nature, SnapshotId, Table, TableKind, Timestamp, form};
use receivers::graphite::{Encoder, Paths, encode};
use receivers::{Graphite, Lines, LocalStore};
use rustix::net::RecvFlags;

use super::{Error, OrderHandler, ParentChannel};
use crate::channel::OrderMessage;
use crate::core::{Order, Reply};
use crate::outbox::old::is_compressed;
use crate::settings::in_flight_max;

/// See the module.
#[derive(Debug)]
pub(super) struct SendChild {
    transport: Transport,
    paths: Arc<Paths>,
    host: String,
}

#[derive(Debug)]
enum Transport {
    Graphite(Graphite),
    LocalStore(LocalStore),
}

const BUFFER_BYTES: usize = 64 << 10;
/// Points of the largest batch that is decoded once and kept, in about 128 KiB. A larger batch is
/// decoded group by group each time it is read, so that memory does not grow with the batch, and
/// each group is still in the processor's cache when its lines are made.
const DECODED_POINTS_MAX: u64 = 16 << 10;

impl SendChild {
    /// One for each batch that the receiver may have in flight.
    pub(super) fn several(
        config: &config::Process,
        index: usize,
        host: &str,
        clock: Clock,
    ) -> Result<Vec<Self>, String> {
        let Some(receiver) = config.receivers.get(index) else {
            return Err(format!("there is no receiver {index}; please report this"));
        };
        let is_local_store =
            |receiver: &config::Receiver| matches!(receiver.kind, ReceiverKind::LocalStore(_));
        let is_only = config.receivers.iter().all(is_local_store);
        let first = Self::new(receiver, is_only, host, clock)?;
        let mut children = Vec::new();
        if let Transport::Graphite(graphite) = &first.transport {
            for _ in 1..in_flight_max(receiver) {
                children.push(Self {
                    transport: Transport::Graphite(graphite.another()),
                    paths: Arc::clone(&first.paths),
                    host: first.host.clone(),
                });
            }
        }
        children.push(first);
        Ok(children)
    }

    fn new(
        receiver: &config::Receiver,
        is_only: bool,
        host: &str,
        clock: Clock,
    ) -> Result<Self, String> {
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
        Ok(Self { transport, paths: Arc::new(paths), host: host.to_owned() })
    }

    fn send(&mut self, batch: OwnedFd) -> Reply {
        let file = File::from(batch);
        if is_compressed(&file) {
            // The lines bear their own timestamps.
            let lines = OldLines { file: &file };
            let timestamp = Timestamp::of_seconds(0);
            let id = SnapshotId { origin: self.host.clone(), timestamp, serial: 0 };
            return self.transport.deliver(&id, &lines);
        }
        let sent = form::Reader::new(form::FileView::new(&file)).and_then(|reader| {
            let id = reader.header().id.clone();
            if reader.header().points <= DECODED_POINTS_MAX {
                let batch = reader.into_batch()?;
                let lines = DecodedLines { batch: &batch, paths: &self.paths };
                return Ok(self.transport.deliver(&id, &lines));
            }
            let lines = FormLines { file: &file, paths: &self.paths, id: &id };
            Ok(self.transport.deliver(&id, &lines))
        });
        sent.unwrap_or_else(|error| Reply::Damaged { reason: error.to_string() })
    }

    fn send_figures(&mut self, timestamp: &Timestamp, figures: Vec<(String, u64)>) -> Reply {
        let column = |(name, value): (String, u64)| {
            Column::integers(name, Nature::Gauge, None, [Some(i128::from(value))])
        };
        let columns = figures.into_iter().map(column).collect();
        let table = Table::of_one_row(TableKind::Own, columns);
        let id = SnapshotId { origin: self.host.clone(), timestamp: timestamp.clone(), serial: 0 };
        let mut lines = Vec::new();
        encode(&[table], &self.paths, &id, &mut lines);
        self.transport.deliver(&id, &lines)
    }
}

impl Transport {
    fn deliver(&mut self, id: &SnapshotId, lines: &dyn Lines) -> Reply {
        let delivered = match self {
            Self::Graphite(graphite) => graphite.deliver(lines),
            Self::LocalStore(store) => store.deliver(id, lines),
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

/// Serves a receiver with several threads, each with its own connection. Replies go out as batches
/// end, in any order.
pub(super) fn serve_together(
    children: Vec<SendChild>,
    parent: &ParentChannel,
    ending: &ChildSignals,
) -> Result<(), Error> {
    let open_orders = OpenOrders { count: Mutex::new(0), ending };
    let (sender, orders) = crossbeam_channel::unbounded();
    parent.send(None, Reply::Ready, None)?;
    std::thread::scope(|scope| {
        for child in children {
            let (orders, open_orders) = (orders.clone(), &open_orders);
            let serve = move || serve_alone(child, &orders, parent, open_orders);
            let thread = std::thread::Builder::new().name("send".to_owned());
            let spawned = thread.spawn_scoped(scope, serve);
            spawned.map_err(|source| Error::Start { doing: "starting a thread", source })?;
        }
        while !open_orders.is_over()
            && let Some((message, batch)) = parent.0.receive::<OrderMessage>(RecvFlags::empty())?
        {
            if !matches!(message.order, Order::Send | Order::SendFigures { .. }) {
                return Err(Error::WrongOrder(format!("{:?}", message.order)));
            }
            open_orders.add();
            // The core sends no more orders than there are threads, so no order waits here.
            let _ = sender.send((message, batch));
        }
        drop(sender);
        Ok(())
    })
}

/// One thread of [`serve_together`]. If it panics the process ends at once, so that the parent
/// hears of a crash; if it cannot answer, the child takes no more orders.
fn serve_alone(
    mut child: SendChild,
    orders: &Receiver<(OrderMessage, Option<OwnedFd>)>,
    parent: &ParentChannel,
    open_orders: &OpenOrders<'_>,
) {
    let _end_on_drop = EndOnDrop(parent);
    for (message, batch) in orders {
        let Ok((reply, _)) = child.handle(message.order, batch) else { return };
        if parent.send(Some(message.id), reply, None).is_err() || open_orders.remove() {
            return;
        }
    }
}

/// Ends the child's wait for orders when this is dropped; after a panic, ends the process.
struct EndOnDrop<'a>(&'a ParentChannel);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The other threads would finish their orders first, while new ones come.
            std::process::abort();
        }
        self.0.0.close_for_reading();
    }
}

/// The number of orders that are not answered: the end by SIGTERM waits for them.
#[derive(Debug)]
struct OpenOrders<'a> {
    count: Mutex<usize>,
    ending: &'a ChildSignals,
}

impl OpenOrders<'_> {
    fn add(&self) {
        *self.lock() += 1;
        self.ending.work_begins();
    }

    /// Removes an order that is answered. True if SIGTERM has come: the child takes no more orders,
    /// and ends after the open ones.
    fn remove(&self) -> bool {
        *self.lock() -= 1;
        self.is_over()
    }

    /// Whether SIGTERM has come, so that the child must take no more orders.
    fn is_over(&self) -> bool {
        let count = self.lock();
        if *count == 0 { self.ending.wait_begins() } else { self.ending.is_asked() }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.count.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OrderHandler for SendChild {
    fn handle(
        &mut self,
        order: Order,
        batch: Option<OwnedFd>,
    ) -> Result<(Reply, Option<OwnedFd>), Error> {
        let reply = match (order, batch) {
            (Order::Send, Some(batch)) => self.send(batch),
            (Order::SendFigures { timestamp, figures }, _) => {
                self.send_figures(&timestamp, figures)
            }
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
    fn open(&self) -> io::Result<Box<dyn BufRead + '_>> {
        let reader = form::Reader::new(form::FileView::new(self.file)).map_err(damaged)?;
        Ok(Box::new(Encoder::new(self.paths, self.id, reader).map_err(damaged)?))
    }
}

/// The lines of a batch that is in memory.
#[derive(Debug)]
struct DecodedLines<'a> {
    batch: &'a Batch,
    paths: &'a Paths,
}

impl Lines for DecodedLines<'_> {
    fn open(&self) -> io::Result<Box<dyn BufRead + '_>> {
        let encoder = Encoder::new(self.paths, &self.batch.id, BatchCursor::new(self.batch));
        Ok(Box::new(encoder.map_err(damaged)?))
    }
}

fn damaged(error: form::Error) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, error)
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
    fn open(&self) -> io::Result<Box<dyn BufRead + '_>> {
        // Read all lines once before the first is sent, so that gzip's CRC is verified.
        let checked = io::copy(&mut self.decoder(), &mut io::sink());
        checked.map_err(|error| io::Error::new(ErrorKind::InvalidData, error))?;
        Ok(Box::new(BufReader::with_capacity(BUFFER_BYTES, self.decoder())))
    }
}
