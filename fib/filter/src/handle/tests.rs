use super::*;

/// A handle on a thread that does nothing, what it is asked, and what it says of itself.
fn stuck() -> (
    Filter,
    mpsc::UnboundedReceiver<Command>,
    watch::Sender<FilterStatus>,
) {
    let (commands, asked) = mpsc::unbounded_channel();
    let (status, receiver) = watch::channel(FilterStatus::default());
    (Filter::new(commands, receiver), asked, status)
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_does_not_answer_holds_nobody_for_ever() {
    let (filter, _asked, _status) = stuck();
    let counters = filter.counters().await.unwrap_err();
    assert_eq!(
        counters.to_string(),
        "the filter has not answered within 2s"
    );
    let forgotten = filter.forget(vec![]).await.unwrap_err();
    assert_eq!(
        forgotten.to_string(),
        "the filter has not answered within 5s"
    );
    let settled = filter.settled(Duration::from_secs(3)).await.unwrap_err();
    assert_eq!(settled.to_string(), "the filter has not answered within 3s");
}

#[tokio::test]
async fn a_thread_that_is_gone_is_an_error_at_once() {
    let (filter, asked, status) = stuck();
    drop((asked, status));
    for outcome in [
        filter.counters().await.map(drop),
        filter.forget(vec![]).await.map(drop),
        filter.settled(Duration::MAX).await,
    ] {
        assert!(matches!(outcome, Err(FilterError::Stopped)), "{outcome:?}");
    }
}

#[tokio::test]
async fn settled_waits_for_the_kernel_or_for_the_reason_why_it_has_nothing() {
    let (filter, _asked, status) = stuck();
    let waiting = tokio::spawn({
        let filter = filter.clone();
        async move { filter.settled(Duration::MAX).await }
    });
    status.send_modify(|status| status.settled = true);
    assert!(waiting.await.unwrap().is_ok());
    status.send_modify(|status| {
        status.settled = false;
        let why = "no permission".to_owned();
        status.conditions.insert("NoNftables".to_owned(), why);
    });
    let refused = filter.settled(Duration::MAX).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "the packet filter is not in force: no permission"
    );
}

#[tokio::test(start_paused = true)]
async fn what_was_counted_last_is_known_while_nobody_answers() {
    let (filter, mut asked, _status) = stuck();
    let counters = Counters {
        spoofed: 7,
        ..Counters::default()
    };
    let (answer, ()) = tokio::join!(filter.counters(), async {
        match asked.recv().await {
            Some(Command::Count(reply)) => drop(reply.send(Ok(counters))),
            other => panic!("{other:?}"),
        }
    });
    assert_eq!(answer.unwrap(), counters);
    assert!(filter.counters().await.is_err());
    assert_eq!(filter.last_counters(), counters);
}
