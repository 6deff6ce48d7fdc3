//! `docs/interop.md` says of each router and feature whether it works; here that is compared with the tests that there are.

use std::fs;
use std::path::Path;

/// The cells of a line, or none when it is no line of a table.
fn cells(line: &str) -> Vec<&str> {
    let inner = line
        .strip_prefix('|')
        .and_then(|line| line.strip_suffix('|'));
    inner.map_or(Vec::new(), |inner| {
        inner.split('|').map(str::trim).collect()
    })
}

/// What stands between the backquotes.
fn quoted(cell: &str) -> &str {
    cell.split('`').nth(1).unwrap_or_default()
}

/// The names of tests in a file. None when it cannot be read, which then differs from the table.
fn tests_of(file: &Path) -> Vec<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let names = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("fn "));
    names
        .filter_map(|name| Some(name.split_once("() {")?.0.to_owned()))
        .collect()
}

#[test]
fn the_table_of_features_names_exactly_the_tests_that_there_are() {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(here.join("../../docs/interop.md")).unwrap();
    let rows: Vec<_> = table.lines().map(cells).collect();
    let head = rows.iter().position(|row| row.first() == Some(&"feature"));
    let head = head.expect("the head of a table");
    let files: Vec<_> = rows[head][2..].iter().map(|cell| quoted(cell)).collect();
    assert_eq!(files.len(), 6, "{files:?}");
    let rows: Vec<_> = rows[head + 2..]
        .iter()
        .take_while(|row| !row.is_empty())
        .collect();
    assert!(rows.len() > 20, "{rows:?}");
    for (column, file) in files.iter().enumerate() {
        let mut tests = tests_of(&here.join(format!("tests/{file}.rs")));
        let works = rows.iter().filter(|row| row[column + 2] == "works");
        let mut works: Vec<_> = works.map(|row| quoted(row[1]).to_owned()).collect();
        tests.sort();
        works.sort();
        assert_eq!(tests, works, "{file}.rs and its column");
    }
    let empty = rows
        .iter()
        .find(|row| row.iter().any(|cell| cell.is_empty()));
    assert_eq!(empty, None, "a cell without a word");
}
