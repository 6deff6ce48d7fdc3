//! FRR: as it is by default, and tuned.

use std::fmt::Write as _;
use std::process::Command;

use anyhow::{Context, Result};
use caracal_interop_tests::Frr as Program;

use super::{Role, Setup, Speaker};
use crate::network::{ASN, speaker};
use crate::programs;

pub(crate) struct Frr {
    program: Program,
    family: &'static str,
}

impl Frr {
    /// `tuned`: nothing holds back a first announcement (`coalesce-time 0`).
    pub(crate) fn start(setup: &Setup, tuned: bool) -> Result<Frr> {
        // A reflector gives zebra no routes.
        let more: &[&str] = match setup.role {
            Role::Reflector => &["--no_kernel"],
            Role::Node => &[],
        };
        let text = configuration(setup, tuned);
        let (netns, folder) = (&setup.netns, &setup.folder);
        Ok(Frr {
            program: Program::launch(netns, folder, ASN, "", &text, more)?,
            family: if setup.ipv6 { "ipv6" } else { "ipv4" },
        })
    }
}

impl Speaker for Frr {
    fn processes(&self) -> Vec<u32> {
        self.program.processes()
    }

    fn prefixes(&mut self) -> Result<u64> {
        let words = format!("show bgp {} unicast statistics json", self.family);
        let said = self.program.json(&words)?;
        let tables = said.as_object().context("statistics")?.values();
        // An object, or a list with one.
        let mut tables = tables.map(|table| table.get(0).unwrap_or(table));
        let count = tables.find_map(|table| table["totalPrefixes"].as_u64());
        count.with_context(|| format!("no totalPrefixes in {said}"))
    }

    fn check_running(&mut self) -> Result<()> {
        self.program.check_running()
    }
}

/// `zebra version 8.4.4`
pub(crate) fn version() -> Result<String> {
    let said = programs::said(Command::new("/usr/lib/frr/bgpd").arg("--version"))?;
    let mut words = said.split_whitespace();
    let version = words.find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
    Ok(version.unwrap_or_default().to_owned())
}

fn configuration(setup: &Setup, tuned: bool) -> String {
    let family = if setup.ipv6 { "ipv6" } else { "ipv4" };
    let id = speaker(false);
    let mut text = format!(
        "log stdout
router bgp {ASN}
 bgp router-id {id}
 bgp cluster-id 1.0.0.1
 no bgp default ipv4-unicast
 timers bgp 30 90
"
    );
    if tuned {
        text.push_str(" coalesce-time 0\n");
    }
    let mut activate = format!(" address-family {family} unicast\n");
    for client in &setup.clients {
        let _ = writeln!(text, " neighbor {client} remote-as {ASN}");
        let _ = writeln!(text, " neighbor {client} passive");
        let _ = writeln!(text, " neighbor {client} timers connect 1");
        if tuned {
            let _ = writeln!(text, " neighbor {client} advertisement-interval 0");
        }
        let _ = writeln!(activate, "  neighbor {client} activate");
        if setup.role == Role::Reflector {
            let _ = writeln!(activate, "  neighbor {client} route-reflector-client");
        }
    }
    text + &activate + " exit-address-family\n"
}
