//! docs/uwsgi.md's setup in five commands, and contrib/grafana/import.
//!
//! The page has fixed ports and folders; the test has its own, and a server in place of Grafana
//! that keeps what it gets. The first command installs; here a real InfluxDB is started instead.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use testbed::http::{Answer, Server};

use crate::contrib::page::code;
use crate::influxdb::servers::InfluxD;
use crate::scene::Scene;
use crate::support::{Outcome, PULL, Program, free_ports, installed, run, wait_until};
use crate::uwsgi::UWSGI;

const FOLDERS: [&str; 3] = ["examples/uwsgi", "contrib/grafana", "contrib/grafana/influxdb"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Copies the folders that the page names, with these words replaced.
fn copy(scene: &Scene, words: &[(&str, String)]) {
    for folder in FOLDERS {
        for entry in fs::read_dir(root().join(folder)).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                continue;
            }
            let mut text = fs::read_to_string(entry.path()).unwrap();
            if folder == FOLDERS[0] {
                for (from, to) in words {
                    text = text.replace(from, to);
                }
            }
            let name = entry.file_name();
            let path = scene.write(&format!("{folder}/{}", name.to_str().unwrap()), &text);
            fs::set_permissions(path, entry.metadata().unwrap().permissions()).unwrap();
        }
    }
}

fn shell(folder: &Path, command: &str) -> Outcome {
    run("sh", &["-euc", &format!("cd {}\n{command}", folder.display())])
}

fn json(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

/// A server in place of Grafana.
fn grafana() -> Server {
    Server::start(Answer::text(200, "{}")).unwrap()
}

#[test]
fn the_five_commands_of_the_page_bring_the_statistics_into_the_dashboard() {
    let tools = [UWSGI, "influxd", "curl"];
    let Some([_, influxd, _]) = installed("uWSGI: five commands", tools) else { return };
    let scene = Scene::without_spool();
    let influxdb = InfluxD::start(&influxd, scene.path(), "");
    let grafana = grafana();
    let [http, stats] = free_ports();
    let spool = scene.path().join("haproxystats-uwsgi");
    let words = [
        ("127.0.0.1:8080", format!("127.0.0.1:{http}")),
        ("127.0.0.1:9191", format!("127.0.0.1:{stats}")),
        ("127.0.0.1:8086", format!("127.0.0.1:{}", influxdb.port)),
        ("http://127.0.0.1:3000", grafana.url()),
        ("/var/tmp/haproxystats-uwsgi", spool.display().to_string()),
    ];
    copy(&scene, &words);
    let mut page = code("docs/uwsgi.md", "## All of it in five commands");
    for (from, to) in &words {
        page = page.replace(from, to);
    }
    let commands: Vec<&str> = page.lines().collect();
    let [install, services @ .., import] = commands.as_slice() else { panic!("{page}") };
    assert_eq!((install.split(' ').next(), services.len()), (Some("apt-get"), 3), "{page}");
    let programs = Path::new(PULL).parent().unwrap().display();
    let path = format!("PATH={programs}:$PATH");
    let started = services.iter().enumerate().map(|(number, service)| {
        let command = service.strip_suffix(" &").unwrap();
        let command = format!("cd {}\n{path} exec {command}", scene.path().display());
        let words = ["-euc", &command].map(AsRef::as_ref);
        Program::start("sh", &words, &[], scene.path(), &format!("service-{number}"))
    });
    let mut started: Vec<Program> = started.collect();
    let Outcome { code, stdout, stderr } = shell(scene.path(), import);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.contains("dashboard uwsgi: imported"), "{stdout}");

    let board = grafana.requests().into_iter().rev().map(|request| json(&request.body));
    let boards: Vec<Value> = board.filter(|body| body["dashboard"].is_object()).collect();
    assert!(boards.iter().any(|it| it["dashboard"]["uid"] == "haproxystats-influxdb-uwsgi"));
    wait_until("points of the application", || {
        for program in &mut started {
            assert!(program.runs(), "{}", program.log());
        }
        let _ = ureq::get(&format!("http://127.0.0.1:{http}/")).call();
        let query = "SELECT last(requests) FROM uwsgi WHERE source = 'shop'";
        let answer = influxdb.query("haproxystats", query);
        answer.is_some_and(|it| it["results"][0]["series"][0]["values"][0][1].as_f64() > Some(0.0))
    });
}

/// The files that `import` sends for a kind, by their names.
fn files(kind: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(root().join("contrib/grafana").join(kind)).unwrap();
    let mut files: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "json"));
    files.sort();
    files
}

#[test]
fn import_makes_a_data_source_and_sends_each_dashboard() {
    if installed("contrib/grafana/import", ["curl"]).is_none() {
        return;
    }
    for (kind, folder, arguments) in
        [("influxdb", "influxdb", "http://db:8086 stats"), ("graphite", "", "http://web:8080")]
    {
        let grafana = grafana();
        // The data source of an earlier import.
        grafana.script([Answer::text(409, "{\"message\":\"data source exists\"}")]);
        let command = format!(
            "GRAFANA_LOGIN=admin:secret contrib/grafana/import {}/ {kind} {arguments}",
            grafana.url()
        );
        let Outcome { code, stdout, stderr } = shell(root(), &command);
        assert_eq!(code, Some(0), "{stderr}");
        let requests = grafana.requests();
        let files = files(folder);
        assert_eq!(requests.len(), 1 + files.len(), "{stdout}");
        for request in &requests {
            assert_eq!(request.header("authorization"), Some("Basic YWRtaW46c2VjcmV0"));
            assert_eq!(request.header("content-type"), Some("application/json"));
        }
        let source = json(&requests[0].body);
        assert_eq!(requests[0].path, "/api/datasources");
        assert_eq!((&source["type"], &source["access"]), (&kind.into(), &"proxy".into()));
        for (request, file) in requests[1..].iter().zip(files) {
            assert_eq!(request.path, "/api/dashboards/db");
            let body = json(&request.body);
            assert_eq!(body["overwrite"], true);
            assert_eq!(body["dashboard"], json(&fs::read(file).unwrap()));
        }
    }
}

#[test]
fn import_says_who_refuses_what() {
    if installed("contrib/grafana/import: refusals", ["curl"]).is_none() {
        return;
    }
    let refused = |answers: Vec<Answer>| {
        let grafana = grafana();
        grafana.script(answers);
        let command = format!("contrib/grafana/import {} graphite http://web", grafana.url());
        shell(root(), &command)
    };
    let outcome = refused(vec![Answer::text(401, "{\"message\":\"Unauthorized\"}")]);
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome.stderr.contains("refuses the data source with status 401"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.stderr.contains("set GRAFANA_LOGIN"), "{}", outcome.stderr);
    let outcome = refused(vec![Answer::text(200, "{}"), Answer::text(412, "{\"x\":1}")]);
    assert_eq!(outcome.code, Some(2));
    assert!(
        outcome.stderr.contains("backend.json with status 412: {\"x\":1}"),
        "{}",
        outcome.stderr
    );
    let outcome = shell(root(), "contrib/grafana/import http://127.0.0.1:1 influxdb http://db");
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("needs the name of a database"), "{}", outcome.stderr);
    let outcome = shell(root(), "contrib/grafana/import http://127.0.0.1:1 graphite http://web");
    assert_eq!(outcome.code, Some(2), "nobody listens there");
}
