//! Peers that come from a prefix of `dynamicPeers`.

use super::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_connects_from_a_dynamic_prefix_is_a_client() {
    let prefix = IpNet::new(address(0), 24).unwrap().trunc();
    let dynamic = format!("dynamicPeers:\n  - {{prefix: {prefix}, asn: {ASN}, client: true}}\n");
    let reflector = Running::start(41, &dynamic).await;
    let (one, other) = (client(42, 41).await, client(43, 41).await);
    reflector.until_established(2).await;
    assert_eq!(reflector.peers().await[0].peer_type, "dynamic client");
    let block: IpNet = "10.233.42.0/26".parse().unwrap();
    originate(&one, block).await;
    until("the route", async || has_route(&other, block).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_on_when_its_peer_moves_between_the_list_and_a_prefix() {
    let prefix = IpNet::new(address(0), 24).unwrap().trunc();
    let dynamic = format!("dynamicPeers:\n  - {{prefix: {prefix}, asn: {ASN}, client: true}}\n");
    let listed = format!("{dynamic}peers:\n{}", line(192));
    let reflector = Running::start(191, &listed).await;
    let _one = client(192, 191).await;
    reflector.until_established(1).await;
    for (file, kind) in [(&dynamic, "dynamic client"), (&listed, "client")] {
        write(&reflector.folder, 191, file);
        until(kind, async || {
            let peers = reflector.peers().await;
            peers.iter().any(|peer| peer.peer_type == kind)
        })
        .await;
        let peers = reflector.peers().await;
        assert_eq!((peers.len(), peers[0].flaps), (1, 0));
        assert_eq!(peers[0].state, "Established");
        assert!(peers[0].last_error.is_none(), "{:?}", peers[0].last_error);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_clients_with_one_router_id_are_named() {
    let prefix = IpNet::new(address(0), 24).unwrap().trunc();
    let dynamic = format!("dynamicPeers:\n  - {{prefix: {prefix}, asn: {ASN}, client: true}}\n");
    let reflector = Running::start(195, &dynamic).await;
    let _one = client(196, 195).await;
    let _other = client(197, 195).await;
    reflector.until_established(2).await;
    assert_eq!(reflector.status().await.conditions, []);
    let _third = client_called(198, 195, 196).await;
    reflector.until_established(3).await;
    let conditions = reflector.status().await.conditions;
    assert_eq!(conditions.len(), 1, "{conditions:?}");
    assert_eq!(conditions[0].name, "RouterIdTwice");
    let words = format!(
        "peers {} and {} have the same router id 10.0.0.196: ",
        address(196),
        address(198)
    );
    assert!(conditions[0].message.starts_with(&words), "{conditions:?}");
}
