//! `[influxdb]` and `[influxdb:name]`: the options that only this kind of receiver has.

use std::path::PathBuf;
use std::time::Duration;

use crate::fault::Problem;
use crate::kind;
use crate::options::{KnownOption, Opt};
use crate::reader::{Reader, Rejection};
use crate::receivers::Context;
use crate::tls;
use crate::typed::{Gzip, InfluxApi, InfluxDb, InfluxTarget, ReceiverKind};
use crate::url::Url;

pub(crate) const SECTION: &str = "influxdb";

const URL: Opt<Url> =
    Opt::unset("url", kind::URL, "where it listens, such as http://127.0.0.1:8086; must be set");
const API: Opt<InfluxApi> = Opt::new(
    "api",
    kind::INFLUX_API,
    "auto",
    "/write of InfluxDB 1.x (v1), /api/v2/write of 2 and 3 (v2); auto: v2 if bucket is set",
);
const DATABASE: Opt<String> =
    Opt::unset("database", kind::TEXT, "database (v1); it or bucket must be set");
const USERNAME: Opt<String> = Opt::unset("username", kind::TEXT, "user (v1)");
const PASSWORD_FILE: Opt<PathBuf> =
    Opt::unset("password-file", kind::PATH, "file with the user's password (v1)");
const RETENTION_POLICY: Opt<String> = Opt::unset(
    "retention-policy",
    kind::TEXT,
    "retention policy (v1), in place of the database's default",
);
const CREATE_DATABASE: Opt<bool> = Opt::new(
    "create-database",
    kind::BOOLEAN,
    "true",
    "whether a database that is missing is made (v1)",
);
const ORG: Opt<String> = Opt::unset("org", kind::TEXT, "organisation (v2)");
const BUCKET: Opt<String> = Opt::unset("bucket", kind::TEXT, "bucket (v2); for 3.x the database");
const TOKEN_FILE: Opt<PathBuf> = Opt::unset("token-file", kind::PATH, "file with the token (v2)");
const TAGS: Opt<Vec<(String, String)>> =
    Opt::unset("tags", kind::TAGS, "tags of every line, such as dc=ams1, env=prod");
const KEEP_FIELD_NAMES: Opt<bool> = Opt::new(
    "keep-field-names",
    kind::BOOLEAN,
    "false",
    "whether fields have HAProxy's names in place of telegraf's",
);
const GROUPS: Opt<bool> =
    Opt::new("groups", kind::BOOLEAN, "true", "whether the sections of groups give the tag group");
const GZIP: Opt<Gzip> = Opt::new(
    "gzip",
    kind::GZIP,
    "auto",
    "whether requests are compressed; auto: not to an address of this machine's loopback",
);
const BATCH_POINTS: Opt<usize> =
    Opt::new("batch-points", kind::LINE_COUNT, "5000", "lines of one request");
const CONNECT_TIMEOUT: Opt<Duration> =
    Opt::new("connect-timeout", kind::LIMIT, "1", "limit of one try to connect, TLS included");
const WRITE_TIMEOUT: Opt<Duration> = Opt::new(
    "write-timeout",
    kind::LIMIT,
    "1",
    "a server that accepts no byte for this long is given up",
);
const TIMEOUT: Opt<Duration> =
    Opt::new("timeout", kind::LIMIT, "5", "limit of the wait for an answer");

pub(crate) const OPTIONS: &[KnownOption] = &[
    URL.row,
    API.row,
    DATABASE.row,
    USERNAME.row,
    PASSWORD_FILE.row,
    RETENTION_POLICY.row,
    CREATE_DATABASE.row,
    ORG.row,
    BUCKET.row,
    TOKEN_FILE.row,
    TAGS.row,
    KEEP_FIELD_NAMES.row,
    GROUPS.row,
    GZIP.row,
    BATCH_POINTS.row,
    CONNECT_TIMEOUT.row,
    WRITE_TIMEOUT.row,
    TIMEOUT.row,
    tls::ROWS[0],
    tls::ROWS[1],
    tls::ROWS[2],
    tls::ROWS[3],
];

/// Reads the options of this kind.
pub(crate) fn influxdb(
    reader: &mut Reader<'_, '_>,
    context: &Context<'_>,
) -> Result<ReceiverKind, Rejection> {
    // Errors are returned only after the other options, so that one run reports their faults too.
    let url = reader.value(&URL);
    let target = target(reader);
    // The options of TLS may be meant for a URL that has a fault.
    let is_tls = url.as_ref().map_or(true, |url| url.is_tls);
    let tls = tls::tls(reader, is_tls);
    let groups = match (reader.value(&GROUPS)?, context.groups.first) {
        (true, Some(_)) => Some(context.groups.rules.clone()),
        (true, None) | (false, _) => None,
    };
    let rest = InfluxDb {
        tags: reader.optional(&TAGS).unwrap_or_default(),
        keep_field_names: reader.value(&KEEP_FIELD_NAMES)?,
        gzip: reader.value(&GZIP)?,
        batch_points: reader.value(&BATCH_POINTS)?,
        connect_timeout: reader.value(&CONNECT_TIMEOUT)?,
        write_timeout: reader.value(&WRITE_TIMEOUT)?,
        timeout: reader.value(&TIMEOUT)?,
        url: url?,
        target: target?,
        tls: tls?,
        groups: groups.transpose()?,
    };
    Ok(ReceiverKind::InfluxDb(rest))
}

/// Reads the options that say where in the server the points go, and who we are.
fn target(reader: &mut Reader<'_, '_>) -> Result<InfluxTarget, Rejection> {
    let api = reader.value(&API)?;
    let create_database = reader.value(&CREATE_DATABASE)?;
    // All are read first, so that one run reports the faults of all.
    let username = reader.optional(&USERNAME);
    let retention_policy = reader.optional(&RETENTION_POLICY);
    let password_file = reader.optional(&PASSWORD_FILE);
    let org = reader.optional(&ORG);
    let token_file = reader.optional(&TOKEN_FILE);
    let has_bucket = reader.is_set(&BUCKET);
    if has_bucket && reader.is_set(&DATABASE) {
        let why = "goes with v2 and database with v1; leave one of the two out".to_owned();
        return Err(reader.refuse(&BUCKET, Problem::Conflict { why }));
    }
    let is_v2 = match api {
        InfluxApi::Auto => has_bucket,
        InfluxApi::V1 => false,
        InfluxApi::V2 => true,
    };
    let (own, of_other, other) = if is_v2 {
        ("v2", [&USERNAME, &RETENTION_POLICY, &DATABASE], "v1")
    } else {
        ("v1", [&ORG, &BUCKET, &BUCKET], "v2")
    };
    let why = format!(
        "is an option of {other}, and this receiver speaks {own}; leave it out, or set api and \
         {} instead",
        if is_v2 { "database" } else { "bucket" }
    );
    for option in of_other {
        if reader.is_set(option) {
            return Err(reader.refuse(option, Problem::Conflict { why }));
        }
    }
    let secret_of_other = if is_v2 { &PASSWORD_FILE } else { &TOKEN_FILE };
    if reader.is_set(secret_of_other) {
        return Err(reader.refuse(secret_of_other, Problem::Conflict { why }));
    }
    if is_v2 {
        return Ok(InfluxTarget::V2 { org, bucket: reader.value(&BUCKET)?, token_file });
    }
    if reader.is_set(&PASSWORD_FILE) && !reader.is_set(&USERNAME) {
        let why = "needs username; set that too, or leave this out".to_owned();
        return Err(reader.refuse(&PASSWORD_FILE, Problem::Conflict { why }));
    }
    Ok(InfluxTarget::V1 {
        database: reader.value(&DATABASE)?,
        retention_policy,
        username,
        password_file,
        create_database,
    })
}
