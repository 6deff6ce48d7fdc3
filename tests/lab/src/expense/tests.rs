//! This process, of which something is known.

use super::*;

#[test]
fn what_this_process_costs_is_read_from_proc() {
    let memory = vec![1_u8; 8 << 20];
    let before = Expense::of(std::process::id()).unwrap();
    assert!(before.resident_kib >= 8 << 10, "{before:?}");
    assert!(before.proportional_kib <= before.resident_kib, "{before:?}");
    assert!(before.private_kib >= 8 << 10, "{before:?}");
    assert!(before.threads >= 1 && before.descriptors >= 3, "{before:?}");
    drop(memory);
    let mut sum = 0_u64;
    while Expense::of(std::process::id()).unwrap().processor == before.processor {
        sum = std::hint::black_box(sum + 1);
    }
}

#[test]
fn a_field_is_the_number_after_its_whole_name() {
    let text = "Pss_Anon: 3 kB\nPss:        17 kB\n";
    assert_eq!(field(text, "Pss:"), 17);
    assert_eq!(field(text, "Rss:"), 0);
}

#[test]
fn a_process_that_is_not_there_is_named() {
    let error = Expense::of(u32::MAX).unwrap_err();
    assert!(
        format!("{error:#}").contains("/proc/4294967295/"),
        "{error:#}"
    );
}
