//! Against a real listener, whose room for keys is small.

use std::net::Ipv4Addr;

use caracal_bgp::{Speaker, SpeakerConfig, Time};
use caracal_bgp_net::{Md5Key, SessionOptions};

use super::*;

fn shell() -> Shell {
    let config = SpeakerConfig {
        seed: 1,
        ..SpeakerConfig::new(64512, Ipv4Addr::new(10, 0, 0, 1))
    };
    Shell::start(
        Speaker::new(config, Time::ZERO),
        &["127.0.0.1:0".parse().unwrap()],
    )
    .unwrap()
}

fn signed(count: u32) -> Plan {
    let options = SessionOptions {
        key: Some(Md5Key::new(b"hush").unwrap()),
        ttl_security: None,
    };
    let address = |index| IpAddr::from(Ipv4Addr::from(0x0a00_0000 + index));
    Plan {
        sessions: (0..count)
            .map(|index| (address(index), options.clone()))
            .collect(),
        ..Plan::default()
    }
}

#[tokio::test]
async fn peers_for_whose_keys_there_is_no_room_are_left_out_and_named_until_there_is() {
    let room = std::fs::read_to_string("/proc/sys/net/core/optmem_max").unwrap_or_default();
    let room: u32 = room.trim().parse().unwrap_or(u32::MAX);
    if room > 4_000_000 {
        println!("skipped: net.core.optmem_max is {room}, too much to fill");
        return;
    }
    // A key takes more octets than its 80.
    let many = room / 80;
    let (shell, nothing) = (shell(), Plan::default());
    let mut full = signed(many);
    secure(&shell, &nothing, &mut full).await.unwrap();
    let left_out = usize::try_from(many).unwrap() - full.sessions.len();
    if full
        .conditions
        .iter()
        .any(|c| c.message.contains("CONFIG_TCP_MD5SIG"))
    {
        println!("skipped: this kernel has no TCP MD5");
        return;
    }
    assert!(left_out > 0 && !full.sessions.is_empty());
    assert_eq!(full.conditions.len(), left_out);
    let last = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + many - 1));
    let message = format!(
        "peer {last}: cannot sign the sessions with {last}: no room for another key on this socket; \
         raise the sysctl net.core.optmem_max; it is not connected"
    );
    assert_eq!(
        full.conditions.last(),
        Some(&condition("PasswordUnusable", &message))
    );

    // The keys of the others go, and then there is room.
    let mut few = Plan {
        sessions: signed(many).sessions.split_off(&last),
        ..Plan::default()
    };
    release(&shell, &full, &few).await.unwrap();
    secure(&shell, &full, &mut few).await.unwrap();
    assert_eq!(few.conditions, []);
    assert!(few.sessions.contains_key(&last));
}
