//! The spool's files.

use super::*;

fn del() -> CniDel {
    CniDel {
        container_id: "0c1f".into(),
        ifname: "eth0".into(),
        network: "pods".into(),
    }
}

#[test]
fn a_kept_del_is_one_whole_file_with_the_body_of_the_request() {
    let folder = tempfile::tempdir().unwrap();
    let spool = folder.path().join("var/cni");
    keep(&spool, &del()).unwrap();
    keep(&spool, &del()).unwrap();
    let names: Vec<_> = fs::read_dir(&spool)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names, ["0c1f-eth0.json"]);
    assert_eq!(
        fs::read_to_string(spool.join(&names[0])).unwrap(),
        r#"{"containerId":"0c1f","ifname":"eth0","network":"pods"}"#
    );
    assert!(waits(&spool, &del()));
    forget(&spool, &del()).unwrap();
    forget(&spool, &del()).unwrap();
    assert!(!waits(&spool, &del()));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let error = keep(&file, &del()).unwrap_err();
    assert_eq!(error.code, Code::Io);
    assert!(
        error.msg.contains("container 0c1f") && error.msg.contains("file/0c1f-eth0.json"),
        "{}",
        error.msg
    );
}
