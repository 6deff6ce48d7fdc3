//! The two looks of a table.

use super::*;

fn table() -> Table {
    let mut table = Table::new(["NAME", "AS"]);
    table.row(["n1".to_owned(), "64512".to_owned()]);
    table.row(["a longer name".to_owned(), String::new()]);
    table
}

#[test]
fn columns_are_aligned_and_have_no_spaces_at_the_end() {
    assert_eq!(
        table().columns(),
        "NAME            AS\n\
         n1              64512\n\
         a longer name\n"
    );
}

#[test]
fn a_frame_is_drawn_as_calicoctl_draws_it() {
    assert_eq!(
        table().framed(),
        "+---------------+-------+\n\
         | NAME          | AS    |\n\
         +---------------+-------+\n\
         | n1            | 64512 |\n\
         | a longer name |       |\n\
         +---------------+-------+\n"
    );
}

#[test]
fn a_cell_never_breaks_its_row() {
    let mut table = Table::new(["ERROR"]);
    table.row(["one\ntwo\u{1b}[31m".to_owned()]);
    assert_eq!(table.columns(), "ERROR\none two [31m\n");
}

#[test]
fn durations_have_two_units_at_most() {
    let cases = [
        (0, "0s"),
        (59, "59s"),
        (310, "5m10s"),
        (7_380, "2h3m"),
        (349_200, "4d1h"),
    ];
    for (seconds, words) in cases {
        assert_eq!(duration(seconds), words);
    }
}
