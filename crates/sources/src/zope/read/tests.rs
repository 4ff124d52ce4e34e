//! The table of recorded, odd and damaged answers.

use model::Value;

use super::*;

/// What the original script printed of these values.
const RECORDED: &str = include_str!("dumps/dump-perf-metrics.txt");
const ANSWER: &str = include_str!("dumps/perf_metrics.json");

fn answer(endpoint: &str, text: &str) -> Answer {
    let file = format!("{endpoint}_zope");
    Answer { endpoint: endpoint.to_owned(), file, bytes: text.as_bytes().to_vec() }
}

/// The rows as `deployment/instance name=value,…`.
fn rows(reading: &Reading) -> Vec<String> {
    let mut rows = Vec::new();
    for table in &reading.tables {
        for row in 0..table.names.len() {
            let names: Vec<&str> = table.names.row(row).collect();
            let mut fields = Vec::new();
            for column in &table.columns {
                match column.get(row) {
                    Some(Value::Number(text)) => fields.push(format!("{}={text}", column.name)),
                    Some(other) => panic!("{other:?}"),
                    None => {}
                }
            }
            rows.push(format!("{} {}", names.join("/"), fields.join(",")));
        }
    }
    rows
}

fn texts(remarks: &[Remark]) -> Vec<String> {
    remarks.iter().map(|remark| format!("{} {}", remark.subject, remark.text)).collect()
}

#[test]
fn the_fields_of_the_recorded_answer_are_those_that_the_script_printed() {
    let reading = read(&[answer("01-foo.example.org%2finstance1", ANSWER)]);
    let (_, fields) = RECORDED.trim_end().split_once(' ').unwrap();
    assert_eq!(rows(&reading), [format!("01-foo.example.org/instance1 {fields}")]);
    let table = &reading.tables[0];
    let TableKind::Other(layout) = &table.kind else { panic!("{:?}", table.kind) };
    assert!(layout.is_bare && layout.is_sound());
    assert_eq!(
        (&*layout.measurement, layout.labels.join(" ")),
        ("deployments", "deployment process".to_owned())
    );
    assert_eq!((reading.usable, reading.damages.len(), reading.oddities.len()), (1, 0, 0));
}

#[test]
fn instances_are_in_the_order_of_their_numbers_and_need_not_have_the_same_metrics() {
    let reading = read(&[
        answer("b%2finstance1", r#"{"a":{"x":1}}"#),
        answer("a%2finstance10", r#"{"a":{"y":-1}}"#),
        answer("a%2finstance2", r#"{"a":{"x":0.10,"z":3}}"#),
    ]);
    let expected = ["a/instance2 a.x=0.10,a.z=3", "a/instance10 a.y=-1", "b/instance1 a.x=1"];
    assert_eq!(rows(&reading), expected);
    assert_eq!(reading.usable, 3);
}

#[test]
fn a_damaged_answer_costs_itself_alone() {
    let good = r#"{"a":{"x":1,"note":"text"}}"#;
    let reading = read(&[
        answer("a%2finstance1", good),
        answer("a%2finstance2", &good[..5]),
        answer("a%2finstance3", "Instance is booting\n"),
        answer("a%2finstance4", r#"{"error":"Database 'main' disconnected."}"#),
        answer("a%2finstance5", "{}"),
        answer("instance6", good),
        answer("%61%2finstance1", good),
    ]);
    assert_eq!(rows(&reading), ["a/instance1 a.x=1"]);
    let damages = texts(&reading.damages).join("\n");
    for part in [
        "a%2finstance2_zope left out: it is cut",
        "instance3_zope left out: no JSON, it begins with \"Instance is booting\"",
        "instance4_zope left out: the instance has no metrics: \"Database",
        "instance5_zope left out: it has no metrics",
        "instance6_zope left out: its name is not that of a deployment",
        "%61%2finstance1_zope left out: another file",
    ] {
        assert!(damages.contains(part), "{part} is not in {damages}");
    }
    assert_eq!((reading.usable, reading.damages.len()), (1, 6));
    let oddities = texts(&reading.oddities);
    assert!(oddities[0].starts_with("a/instance1 has values") && oddities[0].ends_with(": a.note"));
    let nothing = read(&[answer("a%2finstance1", "")]);
    assert_eq!((nothing.tables.len(), nothing.usable), (0, 0));
}

#[test]
fn more_metrics_than_a_row_may_have_are_left_out() {
    let fields: Vec<String> = (0..=COLUMNS_MAX).map(|at| format!("\"m{at}\":{at}")).collect();
    let reading = read(&[answer("a%2fb", &format!("{{\"a\":{{{}}}}}", fields.join(",")))]);
    assert_eq!(reading.tables[0].columns.len(), COLUMNS_MAX);
    let text = texts(&reading.oddities).join("");
    assert!(text.contains("more than 500 metrics"), "{text}");
    let many: String = (0..30).map(|at| format!(",\"t{at}\":null")).collect();
    let reading = read(&[answer("a%2fb", &format!("{{\"a\":{{\"x\":1{many}}}}}"))]);
    assert!(texts(&reading.oddities)[0].ends_with(" and more"));
}
