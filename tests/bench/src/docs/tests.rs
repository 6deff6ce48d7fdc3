use super::*;

#[test]
fn only_what_is_between_the_marks_is_replaced() {
    let file = std::env::temp_dir().join(format!("caracal-bench-{}", std::process::id()));
    fs::write(&file, format!("before\n{BEGIN}\nold\n{END}\nafter\n")).unwrap();
    write(&file, "new").unwrap();
    write(&file, "newer").unwrap();
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert_eq!(text, format!("before\n{BEGIN}\nnewer\n{END}\nafter\n"));
}

#[test]
fn a_document_without_marks_stays_as_it_is() {
    let file = std::env::temp_dir().join(format!("caracal-bench-unmarked-{}", std::process::id()));
    fs::write(&file, "text\n").unwrap();
    let error = write(&file, "new").unwrap_err().to_string();
    let text = fs::read_to_string(&file).unwrap();
    fs::remove_file(&file).unwrap();
    assert_eq!(text, "text\n");
    assert!(error.contains(BEGIN), "{error}");
}
