//! Which of several servers gets a batch: a decision without clock and network, shared by all
//! transports to these servers.
//!
//! A server that failed is out of turn for a while: ten times as long as the failed try took, so
//! that a server which hangs costs at most a tenth of the time. When no other server takes the
//! batch it is tried even then.

use std::time::{Duration, Instant};

use config::Cluster;

/// The shortest and the longest time that a server which failed is out of turn.
const OUT_MIN: Duration = Duration::from_secs(10);
const OUT_MAX: Duration = Duration::from_secs(600);
/// A server that failed is out of turn for this many times the duration of its failed try.
const OUT_FACTOR: u32 = 10;

/// The servers by their place in the list.
#[derive(Debug)]
pub(super) struct Choice {
    cluster: Cluster,
    /// Until when each server is out of turn.
    out: Vec<Option<Instant>>,
    /// With [`Cluster::Any`] the server that is next.
    next: usize,
}

impl Choice {
    pub(super) fn new(cluster: Cluster, servers: usize) -> Self {
        Self { cluster, out: vec![None; servers], next: 0 }
    }

    /// The servers in the order in which a batch tries them, each once.
    ///
    /// A server whose time is over is back in turn for this batch. Other batches try it once this
    /// one has found out that it works, or [`OUT_MIN`] later.
    pub(super) fn order(&mut self, now: Instant) -> Vec<usize> {
        let count = self.out.len();
        let first = match self.cluster {
            Cluster::Failover => 0,
            Cluster::Any => {
                let first = self.next;
                self.next = (first + 1) % count.max(1);
                first
            }
        };
        let (mut order, mut out_of_turn) = (Vec::new(), Vec::new());
        for server in (first..count).chain(0..first) {
            let Some(until) = self.out.get_mut(server) else { continue };
            match until {
                None => order.push(server),
                Some(time) if *time <= now => {
                    *until = Some(now + OUT_MIN);
                    order.push(server);
                }
                Some(_) => out_of_turn.push(server),
            }
        }
        order.extend(out_of_turn);
        order
    }

    /// The server took a batch.
    pub(super) fn works(&mut self, server: usize) {
        if let Some(out) = self.out.get_mut(server) {
            *out = None;
        }
    }

    /// The server did not take a batch, in a try of this duration.
    pub(super) fn failed(&mut self, server: usize, now: Instant, took: Duration) {
        if let Some(out) = self.out.get_mut(server) {
            *out = Some(now + took.saturating_mul(OUT_FACTOR).clamp(OUT_MIN, OUT_MAX));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn failover_goes_by_the_list_and_back_once_the_pause_is_over() {
        let now = Instant::now();
        let mut choice = Choice::new(Cluster::Failover, 3);
        assert_eq!(choice.order(now), [0, 1, 2]);
        choice.failed(0, now, SHORT);
        assert_eq!(choice.order(now), [1, 2, 0]);
        choice.failed(1, now, SHORT);
        assert_eq!(choice.order(now), [2, 0, 1]);
        let later = now + OUT_MIN;
        assert_eq!(choice.order(later), [0, 1, 2], "one batch finds out whether they work");
        assert_eq!(choice.order(later), [2, 0, 1], "the others do not wait for it");
        choice.works(0);
        assert_eq!(choice.order(later), [0, 2, 1]);
    }

    #[test]
    fn any_spreads_over_the_servers_that_work() {
        let now = Instant::now();
        let mut choice = Choice::new(Cluster::Any, 3);
        choice.failed(1, now, SHORT);
        let firsts: Vec<_> = (0..6).map(|_| choice.order(now)[0]).collect();
        assert_eq!(firsts, [0, 2, 2, 0, 2, 2]);
        choice.works(1);
        let firsts: Vec<_> = (0..3).map(|_| choice.order(now)[0]).collect();
        assert_eq!(firsts, [0, 1, 2]);
    }

    #[test]
    fn a_server_that_hangs_is_out_of_turn_for_longer() {
        let now = Instant::now();
        let mut choice = Choice::new(Cluster::Failover, 2);
        choice.failed(0, now, Duration::from_secs(60));
        assert_eq!(choice.order(now + Duration::from_secs(599)), [1, 0]);
        assert_eq!(choice.order(now + Duration::from_secs(600)), [0, 1]);
        choice.failed(0, now, Duration::MAX);
        assert_eq!(choice.order(now + OUT_MAX), [0, 1]);
    }

    proptest! {
        /// Whatever failed, a batch tries every server once, and those in turn come first.
        #[test]
        fn a_batch_tries_every_server(
            servers in 1..6_usize, any_of in any::<bool>(),
            events in proptest::collection::vec((0..6_usize, any::<bool>(), 0..30_u64), 0..20),
        ) {
            let cluster = if any_of { Cluster::Any } else { Cluster::Failover };
            let mut choice = Choice::new(cluster, servers);
            let mut now = Instant::now();
            for (server, works, seconds) in events {
                now += Duration::from_secs(seconds);
                if works { choice.works(server) } else { choice.failed(server, now, SHORT) }
                let out = choice.out.clone();
                let order = choice.order(now);
                let mut sorted = order.clone();
                sorted.sort_unstable();
                prop_assert_eq!(sorted, (0..servers).collect::<Vec<_>>());
                let is_out = |server: &usize| out[*server].is_some_and(|until| until > now);
                prop_assert!(order.is_sorted_by_key(is_out));
            }
        }
    }
}
