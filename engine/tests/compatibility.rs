//! docs/COMPATIBILITY.md says what the code says: its table of APIs is that of `net/src/api/table.rs`.
//!
//! `CORELANE_WRITE_DOCS=1` writes keys and versions anew and keeps the notes; a new API gets an empty one.

mod support;

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use corelane_net::api::supported_apis;
use support::server::repository;

const BEGIN: &str =
    "<!-- apis: keys and versions are checked by engine/tests/compatibility.rs -->\n";
const END: &str = "<!-- end of apis -->\n";

fn document() -> PathBuf {
    repository().join("docs/COMPATIBILITY.md")
}

/// The text before the table, the table, and the text after it.
fn split(text: &str) -> (&str, &str, &str) {
    let (before, rest) = text.split_once(BEGIN).expect("the mark before the table");
    let (table, after) = rest.split_once(END).expect("the mark after the table");
    (before, table, after)
}

/// The notes of each API in a table.
fn notes(table: &str) -> BTreeMap<String, String> {
    table
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            match cells[..] {
                [_, name, _, _, note, _] => Some((name.to_owned(), note.to_owned())),
                _ => None,
            }
        })
        .collect()
}

/// The table as it should be, with these notes.
fn table(notes: &BTreeMap<String, String>) -> String {
    let mut table = "\n| API | key | versions | notes |\n|---|---|---|---|\n".to_owned();
    for api in supported_apis() {
        let versions = if api.version_min == api.version_max {
            api.version_max.to_string()
        } else {
            format!("{}-{}", api.version_min, api.version_max)
        };
        let note = notes.get(api.name).map_or("", String::as_str);
        let row = format!("| {} | {} | {versions} | {note} |", api.name, api.key);
        table.push_str(&row.replace("|  |", "| |"));
        table.push('\n');
    }
    table.push('\n');
    table
}

#[test]
fn the_documented_apis_are_those_that_are_served() {
    let text = fs::read_to_string(document()).expect("docs/COMPATIBILITY.md");
    let (before, found, after) = split(&text);
    let expected = table(&notes(found));
    if env::var_os("CORELANE_WRITE_DOCS").is_some_and(|value| value == "1") {
        let text = [before, BEGIN, &expected, END, after].concat();
        fs::write(document(), text).expect("docs/COMPATIBILITY.md can be written");
        return;
    }
    assert_eq!(
        found, expected,
        "run CORELANE_WRITE_DOCS=1 cargo test -p corelane-engine --test compatibility"
    );
}

#[test]
fn a_table_that_lacks_an_api_or_has_another_version_is_noticed() {
    let good = table(&BTreeMap::new());
    let lacking = good.replace("| Fetch | 1 | 4-18 | |\n", "");
    let other = good.replacen("| Fetch | 1 | 4-18 |", "| Fetch | 1 | 4-17 |", 1);
    for bad in [lacking, other] {
        assert_ne!(bad, good);
        assert_ne!(bad, table(&notes(&bad)));
    }
}
