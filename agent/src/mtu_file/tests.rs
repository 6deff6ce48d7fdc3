use super::*;

#[test]
fn the_file_says_the_mtu_and_is_left_alone_when_it_does_so_already() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mtu");
    write(&file, 1450, false).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "1450");
    fs::write(&file, "1450\n").unwrap();
    write(&file, 1450, true).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "1450\n");
    write(&file, 1430, false).unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "1430");
    let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "nothing is left beside it");
}

#[test]
fn without_its_folder_there_is_no_file_and_a_fault_only_where_it_is_required() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calico/mtu");
    assert_eq!(write(&file, 1450, false), Ok(()));
    assert!(!file.exists());
    let fault = write(&file, 1450, true).unwrap_err();
    assert!(
        fault.contains("calico/mtu: cannot write MTU 1450: "),
        "{fault}"
    );
}
