use std::process::Command;

use super::*;

#[test]
fn words_run_in_the_folder_where_they_are_said() {
    let words = ["sh", "-c", r#"pwd; echo "$0""#, "two words"].map(str::to_owned);
    let words = from_here(words.into()).unwrap();
    let run = Command::new(&words[0])
        .args(&words[1..])
        .current_dir("/")
        .output()
        .unwrap();
    let here = std::env::current_dir().unwrap();
    let said = String::from_utf8(run.stdout).unwrap();
    assert_eq!(said, format!("{}\ntwo words\n", here.display()));
}
