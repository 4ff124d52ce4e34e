//! Looks up the addresses of names, one look-up at a time for each endpoint.
//!
//! A resolver can hang for longer than a cycle lasts. A look-up that outlives its cycle is kept,
//! and the next cycle waits for its answer instead of starting another thread.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use daemon::lookup;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;

/// How long a look-up may take where the cycle has no limit (`pull-timeout = 0`).
pub(crate) const LIMIT: Duration = Duration::from_secs(30);

type Answer = Option<Arc<io::Result<Vec<SocketAddr>>>>;
type Pending = HashMap<(String, u16), watch::Receiver<Answer>>;
type Done = Box<dyn FnOnce(io::Result<Vec<SocketAddr>>) + Send>;
type Start = fn(&str, u16, Done) -> io::Result<()>;

/// Look-ups that have no answer yet.
#[derive(Debug, Clone)]
pub(crate) struct Lookups {
    pending: Arc<Mutex<Pending>>,
    /// One for each thread that may run; further names wait for a place.
    places: Arc<Semaphore>,
}

impl Default for Lookups {
    fn default() -> Self {
        Self { pending: Arc::default(), places: Arc::new(Semaphore::new(lookup::THREADS_MAX)) }
    }
}

impl Lookups {
    /// The addresses of a name. Without `limit` the caller must bound the wait.
    pub(crate) async fn addresses(
        &self,
        host: &str,
        port: u16,
        limit: Option<Duration>,
    ) -> io::Result<Vec<SocketAddr>> {
        if let Ok(address) = host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let wait = async {
            let mut answer = self.answer(host, port, lookup::start).await?;
            let arrived = answer.wait_for(Option::is_some).await;
            Ok::<_, io::Error>(arrived.map(|answer| answer.clone()))
        };
        let arrived = match limit {
            None => wait.await?,
            Some(limit) => timeout(limit, wait).await.map_err(|_| {
                let text = format!("no answer from the resolver within {} s", limit.as_secs_f64());
                io::Error::new(io::ErrorKind::TimedOut, text)
            })??,
        };
        self.locked().remove(&(host.to_owned(), port));
        match arrived.ok().flatten().as_deref() {
            Some(Ok(addresses)) => Ok(addresses.clone()),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error.to_string())),
            None => Err(io::Error::other("the thread of the look-up ended")),
        }
    }

    /// The receiver of the answer: of the pending look-up of this name, or of a new look-up, which
    /// starts once there is a place.
    async fn answer(
        &self,
        host: &str,
        port: u16,
        start: Start,
    ) -> io::Result<watch::Receiver<Answer>> {
        let key = (host.to_owned(), port);
        if let Some(answer) = self.locked().get(&key) {
            return Ok(answer.clone());
        }
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(io::Error::other)?;
        let mut pending = self.locked();
        if let Some(answer) = pending.get(&key) {
            return Ok(answer.clone());
        }
        let (sender, answer) = watch::channel(None);
        start(
            host,
            port,
            Box::new(move |addresses| {
                drop(place);
                // At the end of the program no receiver is left.
                let _ = sender.send(Some(Arc::new(addresses)));
            }),
        )?;
        pending.insert(key, answer.clone());
        Ok(answer)
    }

    /// The map stays usable after a panic.
    fn locked(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::future::Future;
    use std::task::{Context, Poll, Waker};

    use super::*;

    thread_local! {
        static HANGING: RefCell<Vec<Done>> = const { RefCell::new(Vec::new()) };
    }

    fn hang(_: &str, _: u16, done: Done) -> io::Result<()> {
        HANGING.with_borrow_mut(|hanging| hanging.push(done));
        Ok(())
    }

    /// Begins a look-up for which there is a place.
    fn begin(lookups: &Lookups, host: &str) -> watch::Receiver<Answer> {
        let mut answer = std::pin::pin!(lookups.answer(host, 80, hang));
        let mut context = Context::from_waker(Waker::noop());
        let Poll::Ready(answer) = answer.as_mut().poll(&mut context) else { panic!("no place") };
        answer.unwrap()
    }

    #[test]
    fn more_names_than_threads_wait_for_a_place() {
        let lookups = Lookups::default();
        for number in 0..lookup::THREADS_MAX {
            begin(&lookups, &format!("lb{number}"));
        }
        let mut waits = std::pin::pin!(lookups.answer("one more", 80, hang));
        let mut context = Context::from_waker(Waker::noop());
        assert!(waits.as_mut().poll(&mut context).is_pending());
        let done = HANGING.with_borrow_mut(|hanging| hanging.remove(0));
        done(Ok(Vec::new()));
        assert!(waits.as_mut().poll(&mut context).is_ready());
        assert_eq!(HANGING.with_borrow(Vec::len), lookup::THREADS_MAX);
    }

    #[test]
    fn a_look_up_that_hangs_is_waited_for_and_not_started_again() {
        let lookups = Lookups::default();
        // Each of these stands for a cycle that gave up.
        let mut answers: Vec<_> = (0..5).map(|_| begin(&lookups, "lb1")).collect();
        begin(&lookups, "lb2");
        assert_eq!(HANGING.with_borrow(Vec::len), 2, "one for each name");
        let late = lookups.addresses("lb1", 80, None);
        let mut late = std::pin::pin!(late);
        let mut context = Context::from_waker(Waker::noop());
        assert!(late.as_mut().poll(&mut context).is_pending());
        let done = HANGING.with_borrow_mut(|hanging| hanging.remove(0));
        done(Ok(vec!["127.0.0.9:80".parse().unwrap()]));
        let Poll::Ready(found) = late.as_mut().poll(&mut context) else { panic!("no answer") };
        assert_eq!(found.unwrap(), ["127.0.0.9:80".parse().unwrap()]);
        assert!(answers.iter_mut().all(|answer| answer.borrow().is_some()), "all have it");
        begin(&lookups, "lb1");
        assert_eq!(HANGING.with_borrow(Vec::len), 2, "a new one after the answer");
    }

    #[test]
    fn an_address_needs_no_look_up_and_an_unknown_name_is_an_error() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let lookups = Lookups::default();
        let found = runtime.block_on(lookups.addresses("::1", 7, None)).unwrap();
        assert_eq!(found, ["[::1]:7".parse().unwrap()]);
        runtime.block_on(lookups.addresses("no such name", 7, None)).unwrap_err();
        assert!(lookups.locked().is_empty());
    }

    #[test]
    fn a_look_up_without_another_limit_has_its_own() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let lookups = Lookups::default();
        begin(&lookups, "lb1");
        let limit = Some(Duration::from_millis(1));
        let late = runtime.block_on(lookups.addresses("lb1", 80, limit)).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        begin(&lookups, "lb1");
        assert_eq!(HANGING.with_borrow(Vec::len), 1, "the next one waits for the same answer");
    }
}
