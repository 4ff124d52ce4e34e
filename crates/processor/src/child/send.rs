//! The send child: it delivers batches to one receiver, several at once if each waits for its
//! confirmation.
//!
//! A file that version 0.1.0 left in the outbox has Graphite's lines, compressed by gzip, in
//! place of a batch. They are sent unchanged.

mod lines;
pub(crate) mod transport;

use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use config::ReceiverKind;
use crossbeam_channel::Receiver;
use daemon::Clock;
use daemon::shutdown::ChildSignals;
use model::{Batch, Column, Nature, SnapshotId, Table, TableKind, Timestamp, form};
use rustix::net::RecvFlags;

use self::lines::{DecodedLines, Encoding, FormLines, OldLines};
use self::transport::Transport;
use super::{Error, OrderHandler, ParentChannel};
use crate::channel::OrderMessage;
use crate::core::{Order, Reply};
use crate::outbox::old::is_compressed;
use crate::settings::in_flight_max;

/// See the module.
#[derive(Debug)]
pub(super) struct SendChild {
    transport: Transport,
    encoding: Arc<Encoding>,
    host: String,
}

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
        let (encoding, first) = transport::open(receiver, is_only, clock)?;
        let mut transports = Vec::new();
        for _ in 1..in_flight_max(receiver) {
            transports.extend(first.another());
        }
        transports.push(first);
        let encoding = Arc::new(encoding);
        let child =
            |transport| Self { transport, encoding: Arc::clone(&encoding), host: host.to_owned() };
        Ok(transports.into_iter().map(child).collect())
    }

    fn send(&mut self, batch: OwnedFd) -> Reply {
        let file = File::from(batch);
        if is_compressed(&file) {
            return self.send_old(&file);
        }
        let sent = form::Reader::new(form::FileView::new(&file)).and_then(|reader| {
            let id = reader.header().id.clone();
            if reader.header().points <= DECODED_POINTS_MAX {
                let batch = reader.into_batch()?;
                let lines = DecodedLines { batch: &batch, encoding: &self.encoding };
                return Ok(self.transport.deliver(&id, &lines));
            }
            let lines = FormLines { file: &file, encoding: &self.encoding, id: &id };
            Ok(self.transport.deliver(&id, &lines))
        });
        sent.unwrap_or_else(|error| Reply::Damaged { reason: error.to_string() })
    }

    fn send_old(&mut self, file: &File) -> Reply {
        if !self.transport.takes_old_lines() {
            let reason = "the file has Graphite's lines, which version 0.1.0 stored".to_owned();
            return Reply::Damaged { reason };
        }
        // The lines bear their own timestamps.
        let timestamp = Timestamp::of_seconds(0);
        let id = SnapshotId { origin: self.host.clone(), timestamp, serial: 0 };
        let max_line = match &*self.encoding {
            Encoding::Graphite(paths) => paths.max_line(),
            Encoding::Influx(_) | Encoding::Json => None,
        };
        self.transport.deliver(&id, &OldLines { file, max_line })
    }

    fn send_figures(&mut self, timestamp: &Timestamp, figures: Vec<(String, u64)>) -> Reply {
        let column = |(name, value): (String, u64)| {
            Column::integers(name, Nature::Gauge, None, [Some(i128::from(value))])
        };
        let columns = figures.into_iter().map(column).collect();
        let table = Table::of_one_row(TableKind::Own, columns);
        let id = SnapshotId { origin: self.host.clone(), timestamp: timestamp.clone(), serial: 0 };
        let batch = Batch { id, tables: vec![table] };
        let lines = DecodedLines { batch: &batch, encoding: &self.encoding };
        self.transport.deliver(&batch.id, &lines)
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
