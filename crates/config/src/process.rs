//! `[process]`, `[graphite]`, the three sections of groups and `[local-store]`, typed.

use std::path::Path;
use std::sync::Arc;

use crate::document::Document;
use crate::fault::{Fault, Problem};
use crate::interpolate::{Outcome, Resolver};
use crate::reader::{Reader, Recorded};
use crate::table::{COUNTS, GROUP_SECTIONS, PORTS, QUEUES, RATES, WORKERS};
use crate::typed::{
    Graphite, GroupRule, Groups, HostPart, LocalStore, Naming, Outbox, Process, Selection, Tables,
};
use crate::values;

/// Reads all that haproxystats-process runs on; every part is looked at before the first fault ends
/// it.
pub(crate) fn process(resolver: &mut Resolver<'_>, file: &Arc<Path>) -> Result<Process, Recorded> {
    let mut read = Reader::new(resolver, "process", file);
    let loglevel = read.required("loglevel", values::log_level);
    let src_dir = read.required("src-dir", values::path);
    let workers = read.required("workers", |text| values::whole(text, WORKERS));
    let liveness_check_interval = read.required("liveness-check-interval", values::limit);
    let job_timeout = read.required("job-timeout", values::limit);
    let partial_input = read.required("partial-input", values::partial_input);
    let failed_dir = read.required("failed-dir", values::path);
    let failed_limit = read.required("failed-limit", |text| values::whole(text, QUEUES));
    let tables = tables(&mut read);
    let naming = naming(resolver, file);
    let graphite = graphite(resolver, file);
    let outbox = outbox(resolver, file);
    let local_store = local_store(resolver, file);
    let (graphite, outbox, local_store) = (graphite?, outbox?, local_store?);
    if graphite.is_none() && local_store.is_none() {
        let why = "false, and there is no [local-store]: nothing would be sent anywhere; \
                   write true, or add the section [local-store]";
        let problem = Problem::Conflict { why };
        return Err(Reader::new(resolver, "graphite", file).refuse("enabled", problem));
    }
    let outbox = graphite.is_some().then_some(outbox);
    Ok(Process {
        loglevel: loglevel?,
        src_dir: src_dir?,
        workers: workers?,
        liveness_check_interval: liveness_check_interval?,
        job_timeout: job_timeout?,
        partial_input: partial_input?,
        failed_dir: failed_dir?,
        failed_limit: failed_limit?,
        tables: tables?,
        naming: naming?,
        graphite,
        outbox,
        local_store,
    })
}

fn tables(read: &mut Reader<'_, '_>) -> Result<Tables, Recorded> {
    let frontend_metrics = read.optional("frontend-metrics", values::metrics);
    let backend_metrics = read.optional("backend-metrics", values::metrics);
    let server_metrics = read.optional("server-metrics", values::metrics);
    let aggr_server_metrics = read.required("aggr-server-metrics", values::boolean);
    let exclude_frontends = read.optional("exclude-frontends", values::path);
    let exclude_backends = read.optional("exclude-backends", values::path);
    let per_process_metrics = read.required("per-process-metrics", values::boolean);
    let calculate_percentages = read.required("calculate-percentages", values::boolean);
    let file_limit = read.required("file-limit", |text| values::whole(text, COUNTS));
    Ok(Tables {
        frontend_metrics: frontend_metrics?.unwrap_or(Selection::Default),
        backend_metrics: backend_metrics?.unwrap_or(Selection::Default),
        server_metrics: server_metrics?.unwrap_or(Selection::Default),
        aggr_server_metrics: aggr_server_metrics?,
        exclude_frontends: exclude_frontends?,
        exclude_backends: exclude_backends?,
        per_process_metrics: per_process_metrics?,
        calculate_percentages: calculate_percentages?,
        file_limit: file_limit?,
    })
}

fn naming(resolver: &mut Resolver<'_>, file: &Arc<Path>) -> Result<Naming, Recorded> {
    let mut read = Reader::new(resolver, "graphite", file);
    let namespace = read.required("namespace", values::prefix);
    let prefix_hostname = read.required("prefix-hostname", values::boolean);
    let fqdn = read.required("fqdn", values::boolean);
    let groups = groups(resolver, file);
    let host = match (prefix_hostname?, fqdn?) {
        (false, _) => HostPart::None,
        (true, false) => HostPart::Short,
        (true, true) => HostPart::Full,
    };
    Ok(Naming { namespace: namespace?, host, groups: groups? })
}

fn groups(resolver: &mut Resolver<'_>, file: &Arc<Path>) -> Result<Option<Groups>, Recorded> {
    let document = resolver.document();
    let first = GROUP_SECTIONS.iter().find_map(|name| document.section(name));
    let [frontend, backend, server] = GROUP_SECTIONS.map(|name| rules(resolver, document, name));
    let mut read = Reader::new(resolver, "graphite", file);
    let namespace = read.optional("group-namespace", values::prefix);
    if !matches!(namespace, Ok(Some(_))) {
        // Its type is looked at even where nothing asks for it.
        read.optional("group-namespace-double-writes", values::boolean)?;
    }
    let Some(namespace) = namespace? else {
        let Some(section) = first else { return Ok(None) };
        let why =
            "the groups need a group-namespace; set it in [graphite], or leave this section out";
        resolver.record(Fault {
            place: section.place.clone(),
            section: Some(section.name.clone()),
            option: None,
            problem: Problem::Conflict { why },
        });
        return Err(Recorded);
    };
    let double_writes = read.required("group-namespace-double-writes", values::boolean);
    if first.is_none() {
        let why = "there are no groups; add [frontend-groups], [backend-groups] or \
                   [server-groups] with NAME = REGEX, or leave it out";
        return Err(read.refuse("group-namespace", Problem::Conflict { why }));
    }
    Ok(Some(Groups {
        namespace,
        double_writes: double_writes?,
        frontend: frontend?,
        backend: backend?,
        server: server?,
    }))
}

/// The rules that the section itself has: an option of `[DEFAULT]` that it inherits is not a group.
fn rules(
    resolver: &mut Resolver<'_>,
    document: &Document,
    section: &str,
) -> Result<Vec<GroupRule>, Recorded> {
    let mut rules = Ok(Vec::new());
    let entries = document.section(section).into_iter().flat_map(|section| section.entries());
    for entry in entries {
        let Outcome::Value { text, .. } = resolver.value(section, &entry.option) else {
            rules = Err(Recorded);
            continue;
        };
        let compiled = fancy_regex::Regex::new(&text).map_err(Box::new);
        let problems =
            [values::group_name(&entry.option).err(), compiled.err().map(Problem::Pattern)];
        for problem in problems.into_iter().flatten() {
            resolver.record(Fault {
                place: entry.place.clone(),
                section: Some(section.to_owned()),
                option: Some(entry.option.clone()),
                problem,
            });
            rules = Err(Recorded);
        }
        if let Ok(rules) = &mut rules {
            rules.push(GroupRule { name: entry.option.clone(), pattern: text.to_string() });
        }
    }
    rules
}

/// Reads the whole section even where it is turned off: a fault is one all the same.
fn graphite(resolver: &mut Resolver<'_>, file: &Arc<Path>) -> Result<Option<Graphite>, Recorded> {
    let mut read = Reader::new(resolver, "graphite", file);
    let enabled = read.required("enabled", values::boolean);
    let server = read.required("server", values::host);
    let port = read.required("port", |text| values::whole(text, PORTS));
    let retries = read.required("retries", values::retries);
    let interval = read.required("interval", values::pause);
    let backoff = read.required("backoff", values::factor);
    let connect_timeout = read.required("connect-timeout", values::limit);
    let write_timeout = read.required("write-timeout", values::limit);
    let delay = read.required("delay", values::pause);
    let confirm = read.required("confirm", values::confirm);
    let confirm_timeout = read.required("confirm-timeout", values::limit);
    let graphite = Graphite {
        server: server?,
        port: port?,
        retries: retries?,
        interval: interval?,
        backoff: backoff?,
        connect_timeout: connect_timeout?,
        write_timeout: write_timeout?,
        delay: delay?,
        confirm: confirm?,
        confirm_timeout: confirm_timeout?,
    };
    Ok(enabled?.then_some(graphite))
}

/// Likewise whole.
fn outbox(resolver: &mut Resolver<'_>, file: &Arc<Path>) -> Result<Outbox, Recorded> {
    let mut read = Reader::new(resolver, "graphite", file);
    let dir = read.required("outbox-dir", values::path);
    let size_bytes = read.required("outbox-size", |text| values::whole(text, COUNTS));
    let metrics = read.optional("queue-size", |text| values::whole(text, COUNTS));
    let replay_rate = read.required("replay-rate", |text| values::whole(text, RATES));
    let sync = read.required("outbox-sync", values::boolean);
    Ok(Outbox {
        dir: dir?,
        size_bytes: size_bytes?,
        metrics: metrics?,
        replay_rate: replay_rate?,
        sync: sync?,
    })
}

fn local_store(
    resolver: &mut Resolver<'_>,
    file: &Arc<Path>,
) -> Result<Option<LocalStore>, Recorded> {
    if resolver.document().section("local-store").is_none() {
        return Ok(None);
    }
    let mut read = Reader::new(resolver, "local-store", file);
    let dir = read.required("dir", values::path);
    let retention = read.optional("retention", values::limit);
    Ok(Some(LocalStore { dir: dir?, retention: retention? }))
}
