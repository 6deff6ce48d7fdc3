//! Devices of tunnels.

use super::stages::vxlan;
use super::*;

#[test]
fn a_tunnel_that_comes_later_releases_the_routes_that_wait_for_it() {
    Bench::run(async |bench| {
        let tunnels = Tunnels {
            ipip: Some(crate::model::IpipDevice {
                address: "10.233.1.1".parse().unwrap(),
                mtu: None,
            }),
            ..Tunnels::default()
        };
        let route = Route::Remote {
            next_hops: smallvec!["172.18.0.2".parse().unwrap()],
            encapsulation: Encapsulation::Ipip(crate::model::Mode::Always),
        };
        bench.apply(vec![
            Change::SetTunnels(Box::new(tunnels)),
            Change::SetRoute(net("10.233.2.0/26"), route),
        ]);
        bench.settle().await;
        let status = bench.status();
        assert_eq!((status.failed, status.pending), (1, 1));
        let (name, sentence) = &status.conditions[0];
        assert_eq!(name, "NoIpip");
        assert!(
            sentence.contains("the module ipip; 1 route waits for it, direct routes work."),
            "{sentence}"
        );

        bench.kernel.with(|kernel| kernel.has_ipip = true);
        bench.wait_out(Duration::from_secs(60)).await;
        assert_eq!(bench.kernel.routes().len(), 1);
        let status = bench.status();
        assert_eq!((status.failed, status.conditions), (0, vec![]));
    });
}

#[test]
fn a_refused_mtu_leaves_the_tunnel_its_address_and_its_being_up() {
    Bench::run(async |bench| {
        bench.apply(vec![Change::SetTunnels(Box::new(vxlan()))]);
        bench.settle().await;
        let device = bench.index("vxlan.calico");
        let address = IpNet::from(IpAddr::from([10, 233, 1, 0]));
        let as_it_shall_be = |bench: &Bench| {
            bench.kernel.with(|kernel| {
                let link = &kernel.links[&device];
                (
                    link.mtu,
                    link.up,
                    kernel.addresses.contains(&(device, address)),
                )
            })
        };
        assert_eq!(as_it_shall_be(bench), (1450, true, true));
        bench.kernel.with(|kernel| kernel.mtu_max = Some(1400));
        let meddling = [
            DeviceChange::SetMtu(device, 1400),
            DeviceChange::DeleteAddress(device, address),
            DeviceChange::SetUp(device, false),
        ];
        for change in meddling {
            bench.worker.kernel.change(&change).await.unwrap();
        }
        bench.settle().await;
        assert_eq!(as_it_shall_be(bench), (1400, true, true));
        let status = bench.status();
        let (name, sentence) = &status.conditions[0];
        assert_eq!(name, "NoVxlan");
        let why = "its MTU cannot be 1450: Invalid argument";
        assert!(sentence.contains(why), "{sentence}");

        bench.kernel.with(|kernel| kernel.mtu_max = None);
        bench.wait_out(Duration::from_secs(60)).await;
        assert_eq!(as_it_shall_be(bench), (1450, true, true));
        assert_eq!(bench.status().conditions, []);
    });
}

#[test]
fn a_tunnel_that_others_delete_is_made_anew_and_told_from_one_that_we_delete() {
    Bench::run(async |bench| {
        bench.apply(vec![Change::SetTunnels(Box::new(vxlan()))]);
        bench.settle().await;
        let first = bench.index("vxlan.calico");
        bench.kernel.delete_link(first);
        bench.settle().await;
        let second = bench.index("vxlan.calico");
        assert_ne!(first, second);
        assert_eq!(bench.worker.tunnels.deleted_by_others, 1);

        // With another MAC it is another device: that is our own doing.
        let mut tunnels = vxlan();
        tunnels.vxlan.as_mut().unwrap().mac = [0x66, 1, 1, 1, 1, 1];
        bench.apply(vec![Change::SetTunnels(Box::new(tunnels))]);
        bench.settle().await;
        assert_ne!(bench.index("vxlan.calico"), second);
        assert_eq!(bench.worker.tunnels.deleted_by_others, 1);
        // One that nobody wishes for is not missed.
        bench.apply(vec![Change::SetTunnels(Box::default())]);
        bench.wait_out(Duration::from_secs(400)).await;
        assert_eq!(bench.worker.tunnels.deleted_by_others, 1);
    });
}
