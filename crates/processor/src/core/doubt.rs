//! Whether a refusal without a clear reason is because of the batch or because of the receiver.
//!
//! Only another batch that the receiver takes can tell. A passing condition of the receiver can
//! also take some batches and refuse others, so only time makes it sure.

use std::time::{Duration, Instant};

/// How long a receiver must have refused a batch before doubtful refusals set it aside.
const DOUBT_MIN_AGE: Duration = Duration::from_secs(3600);

/// A refusal that may be because of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Doubt {
    /// Stands for the receiver's text.
    pub(crate) reason_hash: u64,
    /// Batches that the receiver had taken by then.
    pub(crate) taken: u64,
    /// When the receiver refused the batch; of several refusals with the same text, the first.
    pub(crate) since: Instant,
}

/// What a refusal is due to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The receiver or the batch: the text is new, or the receiver has taken no other batch since
    /// it refused this one before.
    Unknown,
    /// Probably the batch.
    Suspect,
    /// The batch.
    Batch,
}

impl Doubt {
    /// The cause of a further refusal, and the doubt that follows from both.
    pub(crate) fn followed_by(self, next: Self) -> (Cause, Self) {
        if self.reason_hash != next.reason_hash {
            return (Cause::Unknown, next);
        }
        let cause = if self.taken >= next.taken {
            Cause::Unknown
        } else if next.since.saturating_duration_since(self.since) < DOUBT_MIN_AGE {
            Cause::Suspect
        } else {
            Cause::Batch
        };
        (cause, Self { since: self.since, ..next })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The causes of refusals, each given by its text, the batches taken by then, and its second.
    fn causes(refusals: &[(u64, u64, u64)]) -> Vec<Cause> {
        let start = Instant::now();
        let at = |(reason_hash, taken, second): &(u64, u64, u64)| Doubt {
            reason_hash: *reason_hash,
            taken: *taken,
            since: start + Duration::from_secs(*second),
        };
        let mut doubt = at(&refusals[0]);
        let follow = |refusal| {
            let (cause, next) = doubt.followed_by(at(refusal));
            doubt = next;
            cause
        };
        refusals[1..].iter().map(follow).collect()
    }

    #[test]
    fn a_batch_is_the_cause_when_others_are_taken_for_an_hour() {
        use Cause::{Batch, Suspect};
        let refusals = [(1, 5, 0), (1, 6, 5), (1, 9, 60), (1, 10, 3599), (1, 11, 3600)];
        assert_eq!(causes(&refusals), [Suspect, Suspect, Suspect, Batch]);
    }

    #[test]
    fn a_receiver_that_takes_nothing_may_be_the_cause_however_long() {
        assert_eq!(causes(&[(1, 5, 0), (1, 5, 5), (1, 5, 90_000)]), [Cause::Unknown; 2]);
        // What it took before an outage does not count after it.
        let refusals = [(1, 5, 0), (1, 6, 4000), (1, 6, 4010)];
        assert_eq!(causes(&refusals), [Cause::Batch, Cause::Unknown]);
    }

    #[test]
    fn another_text_begins_another_hour() {
        let refusals = [(1, 5, 0), (2, 6, 3600), (2, 7, 3700), (2, 8, 7200)];
        assert_eq!(causes(&refusals), [Cause::Unknown, Cause::Suspect, Cause::Batch]);
    }
}
