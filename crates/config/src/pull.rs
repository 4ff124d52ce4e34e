//! `[pull]`, typed.

use std::path::Path;
use std::sync::Arc;

use crate::interpolate::Resolver;
use crate::reader::{Reader, Recorded};
use crate::table::{COUNTS, PERIODS, QUEUES, WORKERS};
use crate::typed::Pull;
use crate::values;

/// Reads the section; every option is looked at before the first fault ends it.
pub(crate) fn pull(resolver: &mut Resolver<'_>, file: &Arc<Path>) -> Result<Pull, Recorded> {
    let mut read = Reader::new(resolver, "pull", file);
    let loglevel = read.required("loglevel", values::log_level);
    let socket_dir = read.optional("socket-dir", values::path);
    let servers = read.optional("servers", values::servers);
    let retries = read.required("retries", values::retries);
    let timeout = read.required("timeout", values::limit);
    let interval = read.required("interval", values::pause);
    let pull_timeout = read.required("pull-timeout", values::pause);
    let pull_interval = read.required("pull-interval", |text| values::period(text, PERIODS));
    let answer_limit = read.required("answer-limit", |text| values::whole(text, COUNTS));
    let dst_dir = read.required("dst-dir", values::path);
    let tmp_dst_dir = read.required("tmp-dst-dir", values::path);
    let workers = read.required("workers", |text| values::whole(text, WORKERS));
    let queue_size = read.required("queue-size", |text| values::whole(text, QUEUES));
    let sync = read.required("sync", values::boolean);
    let allow_partial = read.required("allow-partial", values::boolean);
    Ok(Pull {
        loglevel: loglevel?,
        socket_dir: socket_dir?,
        servers: servers?.unwrap_or_default(),
        retries: retries?,
        timeout: timeout?,
        interval: interval?,
        pull_timeout: Some(pull_timeout?).filter(|limit| !limit.is_zero()),
        pull_interval: pull_interval?,
        answer_limit: answer_limit?,
        dst_dir: dst_dir?,
        tmp_dst_dir: tmp_dst_dir?,
        workers: workers?,
        queue_size: queue_size?,
        sync: sync?,
        allow_partial: allow_partial?,
    })
}
