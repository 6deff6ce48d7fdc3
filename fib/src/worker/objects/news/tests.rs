//! How much is said.

use super::*;

#[test]
fn what_one_culprit_did_to_many_objects_is_one_line() {
    let mut news = News::default();
    for id in 1..=300 {
        news.note("ip (process 7)", What::Deleted, id, 4);
        news.note("ip (process 8)", What::Deleted, id, 0);
    }
    news.note("ip (process 7)", What::Changed, 300, 0);
    assert_eq!(news.0.len(), 3, "by culprit and by what was done");
    let sum = news.0[&("ip (process 7)".to_owned(), What::Deleted)];
    assert_eq!((sum.objects, sum.routes, sum.example), (300, 1200, 300));
    news.tell();
    assert!(news.0.is_empty(), "and is not told again");
}
