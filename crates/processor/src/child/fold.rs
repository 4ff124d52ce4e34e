//! The fold child: a snapshot becomes a batch in a sealed memfd.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use config::{KafkaFormat, PartialInput, ReceiverKind};
use daemon::Clock;
use fold::{Damage, Generation, Input, Oddity, Servers, Tables};
use model::{Batch, Nature, Timestamp, catalog, form};
use receivers::graphite::{NameForms, Warning, count_lines};
use sources::Remark;
use spool::cycle::Cycle;
use spool::manifest::{self, Header};

use super::files::Files;
use super::{Error, OrderHandler};
use crate::core::{Cause, FINDINGS_MAX, Finding, FindingKind, Findings, Order, Reply};
use crate::memfd;
use crate::statistics::{self, Counts, Parts, Stopwatch};

/// See the module.
#[derive(Debug)]
pub(crate) struct FoldChild {
    tables: Tables,
    src_dir: PathBuf,
    /// The origin of a snapshot without a manifest.
    host: String,
    partial_input: PartialInput,
    file_limit: u64,
    /// The forms of names in Graphite's lines, of which warnings tell.
    forms: NameForms,
    clock: Clock,
}

/// Why there is no batch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FoldFailure {
    pub(super) cause: Cause,
    pub(crate) reason: String,
}

impl FoldFailure {
    pub(super) fn missing() -> Self {
        Self { cause: Cause::Missing, reason: "it was removed".to_owned() }
    }

    pub(super) const fn unreadable(reason: String) -> Self {
        Self { cause: Cause::Unreadable, reason }
    }

    pub(super) const fn unusable(reason: String) -> Self {
        Self { cause: Cause::Unusable, reason }
    }
}

impl OrderHandler for FoldChild {
    fn handle(
        &mut self,
        order: Order,
        _batch: Option<OwnedFd>,
    ) -> Result<(Reply, Option<OwnedFd>), Error> {
        let Order::Fold { snapshot } = order else {
            return Err(Error::WrongOrder(format!("{order:?}")));
        };
        let directory = self.src_dir.join(snapshot.as_str());
        Ok(match self.fold(&directory, &snapshot) {
            Ok((reply, batch)) => (reply, Some(batch)),
            Err(FoldFailure { cause, reason }) => (Reply::FoldFailed { cause, reason }, None),
        })
    }
}

impl FoldChild {
    pub(crate) fn new(
        config: &config::Process,
        forms: NameForms,
        host: &str,
        clock: Clock,
    ) -> Self {
        Self {
            tables: Tables::new(config.tables.clone()),
            src_dir: config.src_dir.clone(),
            host: host.to_owned(),
            partial_input: config.partial_input,
            file_limit: config.tables.file_limit,
            forms,
            clock,
        }
    }

    /// Folds the snapshot in a directory; the batch is in the descriptor.
    pub(crate) fn fold(
        &mut self,
        path: &Path,
        snapshot: &Timestamp,
    ) -> Result<(Reply, OwnedFd), FoldFailure> {
        let mut stopwatch = Stopwatch::start(self.clock);
        let identity =
            spool::reader::identity(path).map_err(|error| directory_failure(path, &error))?;
        let files = Files::of(path)?;
        let mut list = Vec::new();
        let header = header(path, &mut list);
        let mut inputs = files.haproxy.clone();
        if header.cycle.is_some_and(|cycle| cycle.workers > 0) {
            set_workers(&mut inputs, path, &mut list);
        }
        let inputs = &inputs;
        let daemon = self.tables.daemon(inputs).map_err(fold_failure)?;
        stopwatch.lap(statistics::DAEMON);
        let natures = natures(&header, &mut list);
        let mut proxies =
            self.tables.read(inputs, &daemon.doubles, &natures).map_err(fold_failure)?;
        stopwatch.lap(statistics::READ);
        let others = files.read_others(self.file_limit)?;
        list.extend(daemon.damages.iter().chain(&proxies.damages).map(of_damage));
        list.extend(others.damages.iter().map(|it| of_remark(FindingKind::Damage, it)));
        list.extend(others.oddities.iter().map(|it| of_remark(FindingKind::Oddity, it)));
        list.extend(daemon.oddities.into_iter().chain(proxies.oddities.drain(..)).map(of_oddity));
        let damaged = daemon.damages.len() + proxies.damages.len() + others.damages.len();
        let usable = daemon.usable + proxies.usable + others.usable;
        self.check(path, &files, usable, damaged, &list)?;

        let id = header.snapshot_id(snapshot.clone(), &self.host);
        let mut batch = Batch { id: id.clone(), tables: daemon.tables };
        batch.tables.push(self.tables.frontends(&mut proxies).map_err(fold_failure)?);
        stopwatch.lap(statistics::FRONTENDS);
        batch.tables.push(self.tables.backends(&mut proxies).map_err(fold_failure)?);
        stopwatch.lap(statistics::BACKENDS);
        // A snapshot of a cycle without servers can have those of an old worker, which are no sums.
        let servers = if header.cycle.is_some_and(|cycle| cycle.without_servers) {
            Servers::default()
        } else {
            self.tables.servers(&mut proxies).map_err(fold_failure)?
        };
        batch.tables.extend(servers.tables);
        stopwatch.lap(statistics::SERVERS);
        // The fold of the servers can add some.
        list.extend(proxies.oddities.drain(..).map(of_oddity));
        list.extend(servers.oddities.into_iter().map(of_oddity));
        batch.tables.extend(others.tables);
        let (lines, warnings) = count_lines(&batch.tables, self.forms);
        list.extend(warnings.into_iter().map(of_warning));
        let parts = Parts {
            info: inputs.iter().any(|input| input.info.is_some()),
            stat: inputs.iter().any(|input| input.stat.is_some()),
        };
        let counts = Counts {
            damaged_files: damaged,
            missing_processes: daemon.missing,
            left_out_servers: servers.left_out,
        };
        let own = statistics::table(&lines, &stopwatch, parts, counts, header.cycle.as_ref());
        batch.tables.push(own);
        let more = list.len().saturating_sub(FINDINGS_MAX);
        list.truncate(FINDINGS_MAX);
        let (file, points, bytes) = to_memfd(&batch).map_err(|error| {
            let remedy = daemon::remedy::of(&error);
            FoldFailure::unreadable(format!("no memory for its batch: {error}{remedy}"))
        })?;
        let findings = Findings { list, more };
        Ok((Reply::Folded { id, identity, points, bytes, findings }, file))
    }

    /// Whether the files that were read may become a batch.
    fn check(
        &self,
        path: &Path,
        files: &Files,
        usable: usize,
        damaged: usize,
        findings: &[Finding],
    ) -> Result<(), FoldFailure> {
        // A snapshot that is being removed is not damaged, and its remaining files would give lower
        // sums.
        if (damaged > 0 || usable == 0) && Files::of(path)? != *files {
            return Err(FoldFailure::missing());
        }
        let first = || {
            let mut damages = findings.iter().filter(|found| found.kind == FindingKind::Damage);
            let first = damages.next();
            first.map(|first| format!("{:?}: {}", first.subject, first.text)).unwrap_or_default()
        };
        if usable == 0 {
            return Err(FoldFailure::unusable(format!("nothing of it can be used: {}", first())));
        }
        if damaged > 0 && self.partial_input == PartialInput::Refuse {
            let first = first();
            let reason = format!("{damaged} files are damaged (partial-input = refuse): {first}");
            return Err(FoldFailure::unusable(reason));
        }
        Ok(())
    }
}

/// The forms of names in the lines of all receivers.
pub(crate) fn name_forms(receivers: &[config::Receiver]) -> NameForms {
    let namings = receivers.iter().filter_map(|receiver| match &receiver.kind {
        ReceiverKind::Graphite(graphite) => Some(&graphite.naming),
        ReceiverKind::Kafka(kafka) if kafka.format == KafkaFormat::Graphite => Some(&kafka.naming),
        ReceiverKind::LocalStore(store) => Some(&store.naming),
        ReceiverKind::InfluxDb(_) | ReceiverKind::Kafka(_) => None,
    });
    namings.fold(NameForms::default(), NameForms::with)
}

fn to_memfd(batch: &Batch) -> io::Result<(OwnedFd, u64, u64)> {
    let mut points = 0;
    let file = memfd::sealed("batch", |file| {
        points = form::write(batch, file)?.points;
        Ok(())
    })?;
    let bytes = rustix::fs::fstat(&file)?.st_size;
    Ok((file, points, u64::try_from(bytes).unwrap_or_default()))
}

/// The header of the manifest, and the findings about it.
fn header(path: &Path, findings: &mut Vec<Finding>) -> Header {
    let mut odd = |state: &str, text| {
        findings.push(Finding {
            kind: FindingKind::Oddity,
            subject: manifest::FILE_NAME.to_owned(),
            state: state.to_owned(),
            text,
        });
    };
    match manifest::header(path) {
        Ok(header) => {
            if let Some(Cycle { missing, endpoints, .. }) = header.cycle
                && missing > 0
            {
                let text =
                    format!("{missing} of {endpoints} endpoints are missing (allow-partial)");
                odd("missing endpoints", text);
            }
            header
        }
        Err(error) => {
            odd("unreadable", format!("the manifest cannot be read: {error}"));
            Header::default()
        }
    }
}

/// The natures of new columns in the manifest, and the findings about them.
fn natures(header: &Header, findings: &mut Vec<Finding>) -> HashMap<String, Nature> {
    let mut natures = HashMap::new();
    let mut unusable = Vec::new();
    for (name, nature) in &header.natures {
        match Nature::of_name(nature) {
            Some(nature) if catalog::is_name(name) => _ = natures.insert(name.clone(), nature),
            _ => unusable.push((name, nature)),
        }
    }
    if let Some((name, nature)) = unusable.first() {
        let (name, nature): (String, String) =
            (name.chars().take(80).collect(), nature.chars().take(80).collect());
        findings.push(Finding {
            kind: FindingKind::Oddity,
            subject: manifest::FILE_NAME.to_owned(),
            state: "unknown nature".to_owned(),
            text: format!(
                "{} natures of columns are ignored, the first is {nature:?} of {name:?}; upgrade \
                 haproxystats-process if haproxystats-pull is newer",
                unusable.len()
            ),
        });
    }
    natures
}

/// Sets the generation of each input, and whether it came through a master CLI, as the manifest
/// says.
fn set_workers(inputs: &mut [Input], path: &Path, findings: &mut Vec<Finding>) {
    let manifest = match manifest::read(path) {
        Ok(Some(manifest)) => manifest,
        // The header was there.
        Ok(None) => return,
        Err(error) => {
            let text = format!(
                "the manifest cannot be read, so old workers count as current ones: {error}"
            );
            findings.push(Finding {
                kind: FindingKind::Oddity,
                subject: manifest::FILE_NAME.to_owned(),
                state: "unreadable".to_owned(),
                text,
            });
            return;
        }
    };
    let mut workers = HashMap::new();
    for file in &manifest.files {
        workers.insert(file.name.as_str(), (file.worker, file.generation));
    }
    for input in inputs {
        let any = input.info.as_ref().or(input.stat.as_ref()).and_then(|file| file.file_name());
        let known = any.and_then(|name| workers.get(name.to_str()?));
        if let Some((worker, generation)) = known {
            input.by_master = worker.is_some();
            input.generation = match generation {
                manifest::Generation::Current => Generation::Current,
                manifest::Generation::Old => Generation::Old,
            };
        }
    }
}

fn fold_failure(error: fold::Error) -> FoldFailure {
    let reason = error.to_string();
    match error {
        fold::Error::Unreadable { .. } => FoldFailure::unreadable(reason),
        fold::Error::Fold { .. } => FoldFailure::unusable(reason),
    }
}

fn of_damage(damage: &Damage) -> Finding {
    Finding {
        kind: FindingKind::Damage,
        subject: damage.path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        state: damage.state.to_owned(),
        text: damage.reason.clone(),
    }
}

fn of_remark(kind: FindingKind, remark: &Remark) -> Finding {
    let Remark { subject, state, text } = remark;
    Finding { kind, subject: subject.clone(), state: (*state).to_owned(), text: text.clone() }
}

fn of_oddity(oddity: Oddity) -> Finding {
    Finding {
        kind: FindingKind::Oddity,
        subject: oddity.subject,
        state: oddity.state.to_owned(),
        text: oddity.text,
    }
}

fn of_warning(warning: Warning) -> Finding {
    let Warning { subject, state, text } = warning;
    Finding { kind: FindingKind::Name, subject, state: state.to_owned(), text }
}

/// Why a directory cannot be read. It is missing only if the system says so for certain.
fn directory_failure(path: &Path, error: &io::Error) -> FoldFailure {
    if matches!(path.try_exists(), Ok(false)) {
        return FoldFailure::missing();
    }
    let remedy = daemon::remedy::of(error);
    FoldFailure::unreadable(format!("cannot read {path:?}: {error}{remedy}"))
}

#[cfg(test)]
mod tests {
    use std::time::{Instant, SystemTime};

    use super::*;
    use crate::render::{Format, render};

    /// The configuration of these sections.
    fn process(sections: &str) -> config::Process {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("c.conf");
        std::fs::write(&file, sections).unwrap();
        config::load(&config::Sources { file, dir: None }).unwrap().process
    }

    /// The forms of names of a configuration with these sections.
    fn forms(sections: &str) -> NameForms {
        name_forms(&process(sections).receivers)
    }

    /// Graphite's lines of a snapshot without those of times, and the findings about it.
    fn folded(options: &str, snapshot: &Path) -> (Vec<String>, Vec<Finding>) {
        let clock = Clock { wall: || SystemTime::UNIX_EPOCH, monotonic: Instant::now };
        let sections = format!("[graphite]\nprefix-hostname = false\n[process]\n{options}");
        let config = process(&sections);
        let mut child = FoldChild::new(&config, NameForms::default(), "lb1", clock);
        let (reply, _) = child.fold(snapshot, &"1700000000".parse().unwrap()).unwrap();
        let Reply::Folded { findings, .. } = reply else { panic!("{reply:?}") };
        let mut text = Vec::new();
        let snapshots = [snapshot.to_owned()];
        render(&config, "lb1", clock, Format::Graphite, &snapshots, &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let lines = text.lines().filter(|line| !line.contains("WallClockTime"));
        (lines.map(str::to_owned).collect(), findings.list)
    }

    #[test]
    fn servers_beyond_their_bound_are_logged_and_counted_and_nothing_else_changes() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = folder.path().join("1700000000");
        std::fs::create_dir(&snapshot).unwrap();
        let rows = "big,s1,1,2,\nbig,s2,2,2,\nbig,BACKEND,3,1,\nsmall,s1,4,2,\n";
        let text = format!("# pxname,svname,stot,type,\n{rows}\n");
        std::fs::write(snapshot.join("admin.sock_stat"), text).unwrap();

        let own = "loadbalancers.haproxy.haproxystats.";
        let left_out = |count| format!("{own}LeftOutServers {count} 1700000000");
        let (mut all, findings) = folded("", &snapshot);
        assert_eq!(findings, []);
        assert!(all.iter().any(|line| line.contains(".big.server.s2.stot 2 ")), "{all:?}");
        assert!(all.iter().all(|line| !line.contains("LeftOutServers")), "{all:?}");
        let (at_the_bound, findings) = folded("max-servers-per-backend = 2\n", &snapshot);
        assert_eq!(findings, []);
        assert!(at_the_bound.contains(&left_out(0)), "{at_the_bound:?}");

        let (mut bounded, findings) = folded("max-servers-per-backend = 1\n", &snapshot);
        let [finding] = &findings[..] else { panic!("{findings:?}") };
        assert_eq!((finding.kind, &*finding.subject), (FindingKind::Oddity, "big"));
        assert!(finding.text.contains("its 2 servers are left out"), "{finding:?}");
        assert!(bounded.contains(&left_out(2)), "{bounded:?}");
        all.retain(|line| !line.contains(".big.server.") && !line.contains("MetricsServer"));
        bounded.retain(|line| *line != left_out(2) && !line.contains("MetricsServer"));
        assert_eq!(bounded, all);
    }

    /// Columns that the catalogue lacks fold by the natures in the manifest, against their names.
    #[test]
    fn new_columns_fold_by_the_natures_of_the_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let snapshot = folder.path().join("1700000000");
        std::fs::create_dir(&snapshot).unwrap();
        for (name, number) in [("a", 3), ("b", 5)] {
            let text = format!(
                "# pxname,svname,stot,type,h4_peak,h4_id,h4,\n\
                 w,FRONTEND,1,0,{number},{number},{number},\n\n"
            );
            std::fs::write(snapshot.join(format!("{name}.sock_stat")), text).unwrap();
        }
        let lines = |natures: &str| {
            let text = format!(
                "{{\"version\": 1, \"origin\": \"lb1\", \"serial\": \"1\", \"natures\": {natures}}}"
            );
            std::fs::write(snapshot.join(manifest::FILE_NAME), text).unwrap();
            let (mut lines, findings) = folded("frontend-metrics = all\n", &snapshot);
            lines.retain(|line| line.contains(".frontend.w.h4"));
            let lines = lines.iter().map(|line| line.rsplit_once(".w.").unwrap().1.to_owned());
            let mut lines: Vec<_> = lines.collect();
            lines.sort();
            (lines, findings.into_iter().map(|it| (it.subject, it.state)).collect::<Vec<_>>())
        };
        let of = |subject: &str, state: &str| (subject.to_owned(), state.to_owned());
        let (all, findings) = lines(r#"{"h4_peak": "max", "h4_id": "other", "h4": "counter"}"#);
        assert_eq!(all, ["h4 8 1700000000", "h4_peak 5 1700000000"]);
        assert_eq!(findings, []);
        let (all, findings) = lines(r#"{"h4_peak": "colour", "h4_id": 7, "h4": "max"}"#);
        assert_eq!(all, ["h4 5 1700000000", "h4_id 8 1700000000", "h4_peak 8 1700000000"]);
        let by_name = |name| of(name, "new column");
        assert_eq!(
            findings,
            [of(manifest::FILE_NAME, "unknown nature"), by_name("h4_id"), by_name("h4_peak")]
        );
    }

    #[test]
    fn only_receivers_of_graphites_lines_have_forms_of_names() {
        let (off, tags) = ("[graphite]\nenabled = false\n", "[graphite]\ntags = true\n");
        let influxdb = "[influxdb]\nurl = http://h\nbucket = b\n";
        let nothing = NameForms::default();
        let (parts, tag_values) =
            (NameForms { parts: true, ..nothing }, NameForms { tag_values: true, ..nothing });
        assert_eq!(forms(""), parts);
        assert_eq!(forms(&format!("{off}{influxdb}")), nothing);
        assert_eq!(forms(&format!("{off}[local-store]\n")), parts);
        assert_eq!(forms(tags), tag_values);
        let both = NameForms { parts: true, tag_values: true };
        assert_eq!(forms(&format!("{tags}{influxdb}[graphite:a]\nserver = h\n")), both);
    }
}
