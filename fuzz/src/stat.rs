//! `show stat`: whatever a file holds, the fold does not panic, and the fast and the slow reader
//! get the same from it and from the whole files around it.
//!
//! The tables are kept from input to input, as in a worker, so that state left by one input meets
//! the next one.

#![no_main]

#[path = "scratch.rs"]
mod scratch;
#[path = "../../crates/fold/tests/hostile/twin.rs"]
mod twin;

use std::cell::RefCell;
use std::collections::HashMap;

use config::Selection;
use fold::{Generation, Input, Tables};
use libfuzzer_sys::fuzz_target;

/// Its columns are in another order than HAProxy's, so that the files differ in them.
const WHOLE: &str = "\
# pxname,svname,type,lbtot,scur,smax,rtime,lastchg,weight,\n\
fe,FRONTEND,0,,1,5,,,,\n\
be,s1,2,7,2,6,30,4,100,\n\
be,s2,2,0,3,7,40,-1,50,\n\
be,BACKEND,1,7,5,9,30,4,2,\n\n";

/// One input in so many, by its length, is folded with every metric. That takes most of the time.
const SELDOM: usize = 16;

thread_local! {
    static SOME: RefCell<Tables> = RefCell::new(Tables::new(some()));
    static ALL: RefCell<Tables> = RefCell::new(Tables::new(everything()));
}

/// A field of each fold.
fn some() -> config::Tables {
    let named =
        |names: &[&str]| Selection::Named(names.iter().map(|name| (*name).to_owned()).collect());
    config::Tables {
        frontend_metrics: named(&["scur", "rate_max", "lastsess"]),
        backend_metrics: named(&["stot", "qtime_max", "lastchg"]),
        server_metrics: named(&["bin", "qtime_max", "lastchg"]),
        daemon_metrics: Selection::Default,
        aggr_server_metrics: false,
        ..everything()
    }
}

fn everything() -> config::Tables {
    config::Tables {
        frontend_metrics: Selection::All { except: Vec::new() },
        backend_metrics: Selection::All { except: Vec::new() },
        server_metrics: Selection::All { except: Vec::new() },
        daemon_metrics: Selection::Default,
        aggr_server_metrics: true,
        max_servers_per_backend: None,
        exclude_frontends: None,
        exclude_backends: None,
        per_process_metrics: true,
        calculate_percentages: true,
        server_states: false,
        hide_maint: false,
        file_limit: 1 << 20,
    }
}

fuzz_target!(|bytes: &[u8]| {
    let files = [WHOLE.as_bytes(), bytes, WHOLE.as_bytes()];
    let inputs: Vec<Input> = (0..files.len())
        .map(|at| Input {
            generation: Generation::Current,
            by_master: false,
            endpoint: at.to_string(),
            info: None,
            stat: Some(scratch::file(&format!("{at}_stat"), files[at])),
        })
        .collect();
    let (tables, config) =
        if bytes.len() % SELDOM == 0 { (&ALL, everything()) } else { (&SOME, some()) };
    let metrics = tables.with_borrow_mut(|tables| {
        let mut proxies =
            tables.read(&inputs, &HashMap::new(), &HashMap::new()).expect("the files can be read");
        for damage in &proxies.damages {
            assert_eq!(Some(&damage.path), inputs[1].stat.as_ref(), "{}", damage.reason);
        }
        let mut folded = vec![tables.frontends(&mut proxies).expect("frontends fold")];
        folded.push(tables.backends(&mut proxies).expect("backends fold"));
        folded.extend(tables.servers(&mut proxies).expect("servers fold").tables);
        twin::flat(&folded)
    });
    if let Some(slow) = twin::slow(&files, &config) {
        twin::assert_same(&metrics, &slow);
    }
});
