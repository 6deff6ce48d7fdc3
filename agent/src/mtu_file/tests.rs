use super::*;

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("calico")).unwrap();
        Place { folder }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("calico/mtu")
    }

    fn note(&self) -> PathBuf {
        self.folder.path().join("mtu.json")
    }

    fn write(&self, mtu: u32, required: bool) -> Result<(), String> {
        write(&self.file(), mtu, required, &self.note())
    }

    fn text(&self) -> Option<String> {
        fs::read_to_string(self.file()).ok()
    }
}

#[test]
fn the_file_says_the_mtu_and_is_left_alone_when_it_does_so_already() {
    let place = Place::new();
    place.write(1450, false).unwrap();
    assert_eq!(place.text().unwrap(), "1450");
    fs::write(place.file(), "1450\n").unwrap();
    place.write(1450, true).unwrap();
    assert_eq!(place.text().unwrap(), "1450\n");
    place.write(1430, false).unwrap();
    assert_eq!(place.text().unwrap(), "1430");
    let names = fs::read_dir(place.file().parent().unwrap()).unwrap();
    assert_eq!(names.count(), 1, "nothing is left beside it");
}

#[test]
fn without_its_folder_there_is_no_file_and_a_fault_only_where_it_is_required() {
    let place = Place::new();
    fs::remove_dir(place.file().parent().unwrap()).unwrap();
    assert_eq!(place.write(1450, false), Ok(()));
    assert!(!place.file().exists());
    let fault = place.write(1450, true).unwrap_err();
    assert!(
        fault.contains("calico/mtu: cannot write MTU 1450: "),
        "{fault}"
    );
    assert!(!place.note().exists());
}

#[test]
fn cleanup_removes_a_file_that_was_not_there_before_us() {
    let place = Place::new();
    place.write(1450, false).unwrap();
    place.write(1430, false).unwrap();
    let expected = Ok(Some((place.file(), None)));
    assert_eq!(undo(&place.note(), true), expected);
    assert_eq!(place.text().unwrap(), "1430", "it only looked");
    assert_eq!(undo(&place.note(), false), expected);
    assert!(!place.file().exists() && !place.note().exists());
    assert_eq!(undo(&place.note(), false), Ok(None));
}

#[test]
fn cleanup_puts_back_what_the_file_said_before_our_first_write() {
    let place = Place::new();
    fs::write(place.file(), "1440\n").unwrap();
    place.write(1450, false).unwrap();
    place.write(1430, false).unwrap();
    assert_eq!(
        undo(&place.note(), false),
        Ok(Some((place.file(), Some("1440\n".into()))))
    );
    assert_eq!(place.text().unwrap(), "1440\n");
}

#[test]
fn cleanup_leaves_what_others_have_written() {
    let place = Place::new();
    place.write(1450, false).unwrap();
    fs::write(place.file(), "1400").unwrap();
    assert_eq!(undo(&place.note(), false), Ok(None));
    assert_eq!(place.text().unwrap(), "1400");
    assert!(!place.note().exists());

    let place = Place::new();
    fs::write(place.file(), "1450").unwrap();
    place.write(1450, false).unwrap();
    assert_eq!(undo(&place.note(), false), Ok(None), "it was so before");
    assert_eq!(place.text().unwrap(), "1450");
}
