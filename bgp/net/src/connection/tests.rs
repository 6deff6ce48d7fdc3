use std::net::Ipv4Addr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

const DEADLINE: Duration = Duration::from_secs(30);

/// Both ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (one, other) = tokio::join!(TcpStream::connect(address), listener.accept());
    (one.unwrap(), other.unwrap().0)
}

/// What the next read brings, when there is something.
async fn next(stream: &TcpStream) -> io::Result<Option<Box<[u8]>>> {
    timeout(DEADLINE, stream.readable()).await.unwrap()?;
    try_read(stream)
}

async fn is_readable(stream: &TcpStream) -> bool {
    timeout(Duration::ZERO, stream.readable()).await.is_ok()
}

#[tokio::test]
async fn what_was_read_to_the_end_is_not_asked_for_once_more() {
    let (own, mut peer) = pair().await;
    for _ in 0..3 {
        peer.write_all(b"UPDATE").await.unwrap();
        assert_eq!(next(&own).await.unwrap().as_deref(), Some(&b"UPDATE"[..]));
        assert!(!is_readable(&own).await);
    }
}

#[tokio::test]
async fn what_is_more_than_a_read_takes_comes_in_the_next() {
    let (own, mut peer) = pair().await;
    let much = vec![7; READ_OCTETS_MAX + 1];
    let written = tokio::spawn(async move {
        peer.write_all(&much).await.unwrap();
        peer
    });
    let mut sum = 0;
    while sum < READ_OCTETS_MAX + 1 {
        sum += next(&own).await.unwrap().map_or(0, |octets| octets.len());
    }
    assert_eq!(sum, READ_OCTETS_MAX + 1);
    assert!(!is_readable(&own).await);
    drop(written.await.unwrap());
    assert_eq!(next(&own).await.unwrap(), None);
}

#[tokio::test]
async fn an_end_behind_the_last_octets_is_not_missed() {
    let (own, mut peer) = pair().await;
    peer.write_all(b"CEASE").await.unwrap();
    drop(peer);
    assert_eq!(next(&own).await.unwrap().as_deref(), Some(&b"CEASE"[..]));
    assert_eq!(next(&own).await.unwrap(), None);
}

#[tokio::test]
async fn a_buffer_is_in_hands_until_it_is_written() {
    let (own, mut peer) = pair().await;
    let (hands, (inputs, mut written)) = (Hands::default(), mpsc::channel(2));
    let (id, remote) = (ConnectionId(1), Ipv4Addr::LOCALHOST.into());
    let (mut link, task) = Link::new(id, own, remote, None, inputs, Handle::current());
    link.send(b"UPDATE".to_vec(), &hands);
    assert_eq!((hands.full(), link.writing), (1, true));
    let task = tokio::spawn(task);
    let input = timeout(DEADLINE, written.recv()).await.unwrap();
    assert!(matches!(input, Some(Input::Written { buffer, .. }) if buffer == b"UPDATE"));
    assert_eq!(hands.full(), 0);
    link.close(Vec::new(), &hands);
    let mut read = Vec::new();
    timeout(DEADLINE, peer.read_to_end(&mut read))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(read, b"UPDATE");
    drop(peer);
    timeout(DEADLINE, task).await.unwrap().unwrap();
}
