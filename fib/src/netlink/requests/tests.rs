//! Against a real kernel in a namespace of its own.

use crate::kernel::{Event, Kernel, Lane};
use crate::netlink::{Netlink, in_namespace};

#[test]
fn requests_are_answered_again_after_their_socket_was_lost() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let (mut kernel, mut events) = Netlink::open().unwrap();
            let before = kernel.read_devices().await.unwrap();
            assert_eq!(before.links.len(), 1);
            kernel.requests.lose();
            tokio::task::yield_now().await;
            let after = kernel.read_devices().await.unwrap();
            assert_eq!(after.links, before.links);
            let told = [events.try_recv().unwrap(), events.try_recv().unwrap()];
            assert!(
                matches!(
                    told,
                    [
                        Event::SocketLost(Lane::Requests, _),
                        Event::SocketBack(Lane::Requests)
                    ]
                ),
                "{told:?}"
            );
            // One that is lost while it answers has not answered in full.
            let sockets = kernel.requests.sockets().unwrap();
            let request = async {
                sockets.connections.abort();
                tokio::task::yield_now().await;
                Ok(())
            };
            let outcome = sockets.ask(request, crate::netlink::REQUEST_TIMEOUT).await;
            assert_eq!(outcome.unwrap_err().reason, "the socket is closed");
        });
    });
}
