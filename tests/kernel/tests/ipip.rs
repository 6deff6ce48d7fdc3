//! `tunl0` for real. These need a kernel with ipip: `./tests/run guest` runs them under Debian's.

use anyhow::{Context, Result, ensure};
use caracal_kernel_tests::{add_pods, all_pairs_answer, kernel_equals_state};
use caracal_lab::{Binaries, Encapsulation, Lab, Options, lab_tests, wait};

fn started(ipv6: bool) -> Result<Lab> {
    let options = Options {
        encapsulation: Encapsulation::Ipip,
        ipv6,
        ..Options::default()
    };
    let mut lab = Lab::build(options, Binaries::find()?)?;
    lab.start()?;
    Ok(lab)
}

lab_tests! {
    #[ignore = "needs a kernel with ipip: ./tests/run guest"]
    fn cross_rack_packets_are_ip_protocol_4_between_node_addresses_and_same_rack_packets_are_bare() {
        let lab = started(false)?;
        let pods = add_pods(&lab, 2)?;
        // The way of each pair is compared with the addresses of its two nodes.
        all_pairs_answer(&lab, &pods, false)?;
        let pods: Vec<_> = pods.iter().collect();
        for node in &lab.nodes {
            kernel_equals_state(&lab, node, &pods)?;
        }
        Ok(())
    }

    #[ignore = "needs a kernel with ipip: ./tests/run guest"]
    fn ip_route_shows_tunl0_onlink_across_racks_and_eth0_within() {
        let lab = started(false)?;
        let routes = lab.nodes[0].kernel_routes(false)?;
        let line_of = |node: usize| -> Result<String> {
            let block = lab.nodes[node].status()?.blocks[0].to_string();
            let line = routes.iter().find(|route| route.starts_with(&block));
            line.cloned().with_context(|| format!("no route to {block} of node{}: {routes:?}", node + 1))
        };
        let (within, across) = (line_of(1)?, line_of(2)?);
        ensure!(within.ends_with("via 172.31.1.2 dev eth0 proto 67 metric 1024"), "{within}");
        ensure!(across.ends_with("via 172.31.2.1 dev tunl0 proto 67 metric 1024 onlink"), "{across}");
        Ok(())
    }

    #[ignore = "needs a kernel with ipip: ./tests/run guest"]
    fn tunl0_has_the_address_of_its_node_and_room_for_its_header() {
        let lab = started(false)?;
        let mut seen = Vec::new();
        for node in &lab.nodes {
            let address = wait::until(&format!("tunl0 of {} to have an address", node.name()), || {
                let show = ["-o", "-4", "addr", "show", "dev", "tunl0"];
                let shown = node.netns.ip(&show).map_err(|error| error.to_string())?;
                let mut own = shown.lines().filter_map(|line| line.split_whitespace().nth(3));
                match (own.next(), own.next()) {
                    (Some(address), None) => Ok(address.to_owned()),
                    _ => Err(format!("addresses: {shown:?}")),
                }
            })?;
            ensure!(address.starts_with("10.233.") && address.ends_with("/32"), "{address}");
            ensure!(!seen.contains(&address), "{address} is on two nodes");
            let link = node.netns.ip(&["link", "show", "dev", "tunl0"])?;
            ensure!(link.contains("mtu 1480") && link.contains(",UP"), "{link}");
            seen.push(address);
        }
        Ok(())
    }

    #[ignore = "needs a kernel with ipip: ./tests/run guest"]
    fn ipv4_goes_through_tunl0_while_ipv6_goes_through_vxlan() {
        let lab = started(true)?;
        let pods = add_pods(&lab, 1)?;
        all_pairs_answer(&lab, &pods, false)?;
        all_pairs_answer(&lab, &pods, true)
    }
}
