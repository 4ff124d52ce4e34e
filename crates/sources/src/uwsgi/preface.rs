//! The first line of an application's file: what a fold needs of the cycle before.
//!
//! A fold depends on the snapshot alone, so pull puts the requests of each worker in the last cycle
//! before the document: `{"haproxystats":1,"master":4711,"requests":[12,7]}`. In the first cycle
//! the line has no numbers.

/// Workers whose requests are remembered; those beyond weigh by all of their requests.
const WORKERS_MAX: usize = 4096;

/// The beginning of the line.
const BEGINNING: &str = "{\"haproxystats\":1";

/// The requests of each worker so far, in the order of the document.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    /// The process number of the master.
    pub(crate) master: Option<u64>,
    pub(crate) workers: Vec<u64>,
    /// Whether the current worker is beyond [`WORKERS_MAX`].
    is_full: bool,
}

impl Requests {
    pub(crate) const fn new() -> Self {
        Self { master: None, workers: Vec::new(), is_full: false }
    }

    pub(crate) fn begin_worker(&mut self) {
        self.is_full = self.workers.len() == WORKERS_MAX;
        if !self.is_full {
            self.workers.push(0);
        }
    }

    pub(crate) fn set_master(&mut self, process: u64) {
        self.master = Some(process);
    }

    pub(crate) fn set_requests(&mut self, requests: u64) {
        if let Some(last) = self.workers.last_mut()
            && !self.is_full
        {
            *last = requests;
        }
    }

    /// The requests of each worker of `now` since this cycle; all of its requests if the master was
    /// restarted since, which a fall of the total shows too.
    pub(crate) fn since(&self, master: Option<u64>, now: &[u64]) -> Vec<u64> {
        let total =
            |requests: &[u64]| requests.iter().fold(0, |sum: u64, it| sum.saturating_add(*it));
        let is_restarted = self.master != master || total(now) < total(&self.workers);
        if is_restarted {
            return now.to_vec();
        }
        let since = |(at, now): (usize, &u64)| {
            let before = self.workers.get(at).copied().unwrap_or(0);
            // A worker alone can begin anew as well.
            now.checked_sub(before).unwrap_or(*now)
        };
        now.iter().enumerate().map(since).collect()
    }
}

/// The line, with its line feed.
pub(super) fn line(before: Option<&Requests>) -> String {
    let mut line = BEGINNING.to_owned();
    if let Some(Requests { master, workers, .. }) = before {
        if let Some(master) = master {
            line.push_str(&format!(",\"master\":{master}"));
        }
        let workers: Vec<String> = workers.iter().map(u64::to_string).collect();
        line.push_str(&format!(",\"requests\":[{}]", workers.join(",")));
    }
    line.push_str("}\n");
    line
}

/// The requests of the last cycle, if the file has them, and the document.
pub(super) fn split(file: &[u8]) -> (Option<Requests>, &[u8]) {
    if !file.starts_with(BEGINNING.as_bytes()) {
        return (None, file);
    }
    let Some(end) = file.iter().position(|byte| *byte == b'\n') else { return (None, file) };
    let (line, document) = (&file[..end], &file[end + 1..]);
    let Ok(line) = serde_json::from_slice::<serde_json::Value>(line) else {
        return (None, document);
    };
    let Some(workers) = line["requests"].as_array() else { return (None, document) };
    let workers = workers.iter().map(|it| it.as_u64().unwrap_or(0)).collect();
    let before = Requests { master: line["master"].as_u64(), workers, is_full: false };
    (Some(before), document)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn requests(master: u64, workers: &[u64]) -> Requests {
        Requests { master: Some(master), workers: workers.to_vec(), is_full: false }
    }

    #[test]
    fn the_line_reads_back() {
        let before = requests(7, &[1, u64::MAX]);
        let file = format!("{}{{\"workers\":[]}}", line(Some(&before)));
        assert!(file.starts_with("{\"haproxystats\":1,\"master\":7,\"requests\":[1,"), "{file}");
        assert_eq!(split(file.as_bytes()), (Some(before), &b"{\"workers\":[]}"[..]));
        assert_eq!(split(line(None).as_bytes()), (None, &b""[..]));
        assert_eq!(split(b"{\"a\":1}"), (None, &b"{\"a\":1}"[..]));
    }

    #[test]
    fn an_interval_has_the_requests_since_the_last_cycle_or_since_a_restart() {
        let before = requests(7, &[10, 5]);
        assert_eq!(before.since(Some(7), &[12, 5, 3]), [2, 0, 3]);
        assert_eq!(before.since(Some(7), &[3, 4]), [3, 4], "the total fell");
        assert_eq!(before.since(Some(8), &[12, 9]), [12, 9], "another master");
        assert_eq!(before.since(Some(7), &[30, 2]), [20, 2], "a worker alone");
    }

    #[test]
    fn workers_beyond_the_bound_are_not_remembered() {
        let mut all = Requests::new();
        for number in 0..WORKERS_MAX as u64 + 2 {
            all.begin_worker();
            all.set_requests(number);
        }
        assert_eq!((all.workers.len(), all.workers.last()), (WORKERS_MAX, Some(&4095)));
    }
}
