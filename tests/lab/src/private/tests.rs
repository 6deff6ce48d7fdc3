//! What the world says when it cannot be had.

use super::forbidden;

#[test]
fn names_the_setting_that_forbids_user_namespaces() {
    for (file, value, name) in [
        (
            "/proc/sys/kernel/unprivileged_userns_clone",
            "0\n",
            "kernel.unprivileged_userns_clone=1",
        ),
        (
            "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
            "1\n",
            "apparmor_restrict_unprivileged_userns=0",
        ),
        (
            "/proc/sys/user/max_user_namespaces",
            "0\n",
            "user.max_user_namespaces=10000",
        ),
    ] {
        let sentence = forbidden("unshare failed", |asked| {
            (asked == file).then(|| value.to_owned())
        });
        assert!(sentence.contains(name), "{sentence}");
    }
}

#[test]
fn repeats_what_unshare_said_when_no_setting_explains_it() {
    let sentence = forbidden("unshare failed: Operation not permitted", |_| None);
    assert!(
        sentence.contains("(unshare failed: Operation not permitted)"),
        "{sentence}"
    );
}

#[test]
fn names_the_debian_package_of_a_missing_program() {
    let error = super::program("no-such-program", "some-package")
        .unwrap_err()
        .to_string();
    assert_eq!(
        error,
        "the program no-such-program is missing; on Debian: apt-get install some-package"
    );
}
