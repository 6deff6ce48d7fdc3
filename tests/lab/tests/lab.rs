//! The lab itself, without an agent: routes are put by hand, and what the lab says about them is checked.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use caracal_lab::ping::{Pinger, Stream};
use caracal_lab::wire::{Watcher, Way};
use caracal_lab::{Netns, lab_tests, private, wait};

/// Two namespaces with a third between them that holds the wires.
fn two_hosts() -> Result<(Netns, Netns, Netns)> {
    let (fabric, left, right) = (
        Netns::create("fabric")?,
        Netns::create("left")?,
        Netns::create("right")?,
    );
    for (name, number) in [("left", 1), ("right", 2)] {
        fabric.ip_batch(&[
            format!("link add {name} type veth peer name eth0 netns {name}"),
            format!("addr add 192.0.{number}.254/24 dev {name}"),
            format!("link set {name} up"),
        ])?;
    }
    fabric.sysctl("ipv4/ip_forward", "1")?;
    for (netns, number) in [(&left, 1), (&right, 2)] {
        netns.ip_batch(&[
            format!("addr add 192.0.{number}.1/24 dev eth0"),
            "link set eth0 up".to_owned(),
            format!("route add default via 192.0.{number}.254"),
        ])?;
    }
    Ok((fabric, left, right))
}

lab_tests! {
    without programs;

    fn a_packet_that_crosses_the_router_as_it_is_is_seen_as_direct() {
        let (fabric, left, _) = two_hosts()?;
        let watcher = Watcher::start(&fabric)?;
        let mut pinger = Pinger::open(&left, "192.0.2.1".parse()?)?;
        ensure!(pinger.ask(wait::patience()).is_some(), "no answer");
        ensure!(watcher.way_of(pinger.probe())? == Way::Direct, "{:?}", watcher.way_of(pinger.probe()));
        Ok(())
    }

    fn a_packet_in_a_vxlan_tunnel_is_seen_with_the_addresses_of_the_tunnel() {
        let (fabric, left, right) = two_hosts()?;
        for (netns, own, other) in [(&left, 1, 2), (&right, 2, 1)] {
            netns.ip_batch(&[
                format!("link add vx0 type vxlan id 5 dstport 4789 local 192.0.{own}.1 remote 192.0.{other}.1"),
                format!("addr add 198.51.100.{own}/24 dev vx0"),
                "link set vx0 up".to_owned(),
            ])?;
        }
        let watcher = Watcher::start(&fabric)?;
        let mut pinger = Pinger::open(&left, "198.51.100.2".parse()?)?;
        ensure!(pinger.ask(wait::patience()).is_some(), "no answer");
        let way = watcher.way_of(pinger.probe())?;
        ensure!(way == Way::Vxlan("192.0.1.1".parse()?, "192.0.2.1".parse()?), "{way:?}");
        Ok(())
    }

    fn a_packet_that_leaves_no_host_is_seen_as_local() {
        let (fabric, left, _) = two_hosts()?;
        let watcher = Watcher::start(&fabric)?;
        let mut pinger = Pinger::open(&left, "192.0.1.1".parse()?)?;
        ensure!(pinger.ask(wait::patience()).is_some(), "no answer");
        ensure!(watcher.way_of(pinger.probe())? == Way::Local, "seen on a wire");
        Ok(())
    }

    fn a_stream_counts_exactly_the_packets_that_a_gap_has_swallowed() {
        let (fabric, left, _) = two_hosts()?;
        let stream = Stream::start(Pinger::open(&left, "192.0.2.1".parse()?)?, 50);
        std::thread::sleep(Duration::from_millis(300));
        fabric.ip(&["route", "add", "blackhole", "192.0.2.1"])?;
        std::thread::sleep(Duration::from_millis(500));
        fabric.ip(&["route", "delete", "blackhole", "192.0.2.1"])?;
        std::thread::sleep(Duration::from_millis(300));
        let tally = stream.finish()?;
        let (first, last) = (tally.lost.first().context("none lost")?, tally.lost.last().context("none lost")?);
        ensure!(last - first + 1 == tally.lost.len() as u64, "the gap is one piece: {tally:?}");
        ensure!((5..=60).contains(&tally.lost.len()), "about 25 packets fall into the gap: {tally:?}");
        ensure!(tally.sent > tally.lost.len() as u64, "{tally:?}");
        Ok(())
    }

    fn ipv6_answers_as_well() {
        let (_, left, _) = two_hosts()?;
        ensure!(Pinger::open(&left, "::1".parse()?)?.ask(wait::patience()).is_some(), "no answer from ::1");
        Ok(())
    }
}

#[test]
fn the_world_ends_when_the_leash_is_cut_and_leaves_nothing() {
    if private::inside() {
        private::settle().unwrap();
        Netns::create("something").unwrap();
        println!("number {}", private::number_outside().unwrap());
        loop {
            std::thread::park();
        }
    }
    let entrance = private::Entrance::find().unwrap();
    let program = std::env::current_exe().unwrap();
    let this = "the_world_ends_when_the_leash_is_cut_and_leaves_nothing";
    let (mut child, leash) = entrance
        .start(
            &program,
            &[this, "--exact", "--nocapture"].map(Into::into),
            |command| {
                command.stdout(Stdio::piped());
            },
        )
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let number = lines
        .find_map(|line| Some(line.ok()?.split_once("number ")?.1.to_owned()))
        .expect("the inside says its number");
    assert!(Path::new(&format!("/proc/{number}/root/run/netns/something")).exists());
    drop(leash);
    child.wait().unwrap();
    wait::until("the end of the world inside", || {
        match Path::new(&format!("/proc/{number}/root")).exists() {
            true => Err("it is still there".to_owned()),
            false => Ok(()),
        }
    })
    .unwrap();
    assert!(
        !Path::new("/run/netns/something").exists(),
        "a name has leaked"
    );
}
