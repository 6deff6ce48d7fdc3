//! What an attachment is made of, making it, and saying in what it differs.
//!
//! ```text
//!   node                                   pod (CNI_NETNS)
//!   cali0123456789a  ee:ee:ee:ee:ee:ee ──── eth0  10.233.1.2/32, fd00::2/128
//!   alias caracal:<container>:<ifname>      169.254.1.1 scope link; default via it
//!   its /32 route, sysctls and neighbour    default via fe80::ecee:eeff:feee:eeee onlink
//!   are the agent's                         both gateways are permanent neighbours
//! ```
//!
//! In Calico the pod asks by ARP for 169.254.1.1, and the node answers by proxy. That costs the first packet
//! of each pod a round trip and up to `proxy_delay`, and it fails while the node has no default route. Here the
//! pod knows: the node's end has the same MAC everywhere, so the neighbours inside are permanent from the start.
//! The node goes on answering for pods that Calico made.

use std::net::IpAddr;

use caracal_agent_api::{CniAddReply, CniAddress};

use crate::error::{CniError, Code};
use crate::netns::Netns;
use crate::result::{Interface, Ip, Route, Success};
use crate::veth::{HOST_MAC, Kernel, Link, Pair, mac_text, parse_mac};

/// What shall be there for one container and interface.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attachment {
    /// The container.
    pub(crate) container_id: String,
    /// Name inside the pod.
    pub(crate) ifname: String,
    /// Name on the node.
    pub(crate) device: String,
    /// Of both ends, in octets.
    pub(crate) mtu: u32,
    /// Inside the pod, with gateways.
    pub(crate) addresses: Vec<CniAddress>,
    /// Forwarding inside the pod stays as it is.
    pub(crate) forwarding: bool,
    /// MAC of the pod's end; `None`: the kernel's choice.
    pub(crate) mac: Option<[u8; 6]>,
}

/// Both ends of where it shall be.
#[derive(Debug)]
pub(crate) struct Site<'a> {
    /// The node.
    pub(crate) host: Kernel,
    /// The pod.
    pub(crate) pod: Kernel,
    /// The pod's namespace.
    pub(crate) netns: &'a Netns,
}

impl Attachment {
    /// From the agent's answer.
    pub(crate) fn new(
        container_id: &str,
        ifname: &str,
        reply: &CniAddReply,
        mtu: Option<u32>,
        forwarding: bool,
    ) -> Attachment {
        Attachment {
            container_id: container_id.to_owned(),
            ifname: ifname.to_owned(),
            device: reply.device.clone(),
            mtu: mtu.unwrap_or(reply.mtu),
            addresses: reply.addresses.clone(),
            forwarding,
            mac: reply.mac.as_deref().and_then(parse_mac),
        }
    }

    /// The result for the runtime.
    pub(crate) fn result(&self, mac: &str, netns: &str) -> Success {
        Success {
            interfaces: vec![
                Interface {
                    name: self.device.clone(),
                    mac: Some(mac_text(&HOST_MAC)),
                    mtu: Some(self.mtu),
                    sandbox: None,
                },
                Interface {
                    name: self.ifname.clone(),
                    mac: Some(mac.to_owned()),
                    mtu: Some(self.mtu),
                    sandbox: Some(netns.to_owned()),
                },
            ],
            ips: self
                .addresses
                .iter()
                .map(|address| Ip {
                    address: address.address,
                    gateway: Some(address.gateway),
                    interface: Some(1),
                })
                .collect(),
            // Default routes only: a route without `gw` means "through the gateway of `ips`" to some readers,
            // which would be wrong for the link route.
            routes: self
                .addresses
                .iter()
                .filter_map(|address| {
                    let default = if address.gateway.is_ipv4() {
                        "0.0.0.0/0"
                    } else {
                        "::/0"
                    };
                    Some(Route {
                        dst: default.parse().ok()?,
                        gw: Some(address.gateway),
                    })
                })
                .collect(),
            dns: None,
        }
    }
}

/// Written on the node's end, so that a DEL finds it when neither namespace nor result is left, and never
/// takes the device of a newer container of the same pod (which has the same name).
pub(crate) fn alias(container_id: &str, ifname: &str) -> String {
    format!("caracal:{container_id}:{ifname}")
}

/// Whether a device on the node is the end of this container. Calico writes no alias: then the name decides.
pub(crate) fn belongs_to(link: &Link, container_id: &str, ifname: &str) -> bool {
    link.veth
        && if link.alias.is_empty() {
            link.name.starts_with("cali")
        } else {
            link.alias == alias(container_id, ifname)
        }
}

impl Site<'_> {
    /// Opens both ends.
    pub(crate) fn open(netns: &Netns) -> Result<Site<'_>, CniError> {
        Ok(Site {
            host: Kernel::here()?,
            pod: Kernel::inside(netns)?,
            netns,
        })
    }

    /// Makes the pair and everything inside the pod; returns the pod's MAC. On error nothing is left.
    pub(crate) async fn build(&self, want: &Attachment) -> Result<String, CniError> {
        self.host
            .create(Pair {
                host: &want.device,
                pod: &want.ifname,
                netns: self.netns,
                mtu: want.mtu,
                mac: want.mac,
            })
            .await?;
        let done = self.furnish(want).await;
        if done.is_err()
            && let Ok(Some(link)) = self.host.link(&want.device).await
        {
            // The first error is the one to tell.
            let _ = self.host.delete(&link).await;
        }
        done
    }

    async fn furnish(&self, want: &Attachment) -> Result<String, CniError> {
        let outside = present(self.host.link(&want.device).await?, &want.device)?;
        let inside = present(self.pod.link(&want.ifname).await?, &want.ifname)?;
        if let Some(lo) = self.pod.link("lo").await? {
            self.pod.up(&lo, None).await?;
        }
        let ipv6 = want
            .addresses
            .iter()
            .any(|address| address.gateway.is_ipv6());
        self.sysctls_inside(want, ipv6)?;
        if ipv6 {
            // The node's link-local address is the pods' gateway: at once, not after a second of looking
            // for a duplicate on a link that has one other end. Without IPv6 on the node there is none.
            let _ = std::fs::write(sysctl6(&want.device, "accept_dad"), "0");
        }
        let name = alias(&want.container_id, &want.ifname);
        self.host.up(&outside, Some(&name)).await?;
        for address in &want.addresses {
            self.pod.add_address(&inside, address.address).await?;
        }
        self.pod.up(&inside, None).await?;
        for address in &want.addresses {
            self.pod.add_neighbour(&inside, address.gateway).await?;
            if let IpAddr::V4(gateway) = address.gateway {
                self.pod.add_link_route(&inside, gateway).await?;
            }
            self.pod.add_default_route(&inside, address.gateway).await?;
        }
        Ok(inside.mac)
    }

    /// A new namespace inherits the node's forwarding, which a pod must not have: it would route for others.
    fn sysctls_inside(&self, want: &Attachment, ipv6: bool) -> Result<(), CniError> {
        self.netns.run(|| {
            if !want.forwarding {
                write("/proc/sys/net/ipv4/ip_forward", "0")?;
            }
            if ipv6 {
                write(&sysctl6("lo", "disable_ipv6"), "0")?;
                write(&sysctl6(&want.ifname, "disable_ipv6"), "0")?;
                write(&sysctl6(&want.ifname, "accept_dad"), "0")?;
                if !want.forwarding {
                    write(&sysctl6("all", "forwarding"), "0")?;
                }
            }
            Ok(())
        })
    }

    /// In what the kernel differs from `want`, each in words. Empty: all is as it should be.
    pub(crate) async fn differences(&self, want: &Attachment) -> Result<Vec<String>, CniError> {
        let netns = self.netns.path();
        let mut wrong = Vec::new();
        let Some(inside) = self.pod.link(&want.ifname).await? else {
            return Ok(vec![format!("{} is missing in netns {netns}", want.ifname)]);
        };
        match self.host.link(&want.device).await? {
            None => wrong.push(format!("{} is missing on the node", want.device)),
            Some(outside) => {
                if outside.peer != inside.index || inside.peer != outside.index {
                    wrong.push(format!(
                        "{} is not the other end of {}",
                        outside.name, inside.name
                    ));
                }
                wrong.extend(faults(&outside, want.mtu));
            }
        }
        wrong.extend(faults(&inside, want.mtu));
        let addresses = self.pod.addresses(&inside).await?;
        let gateways = self.pod.default_gateways(&inside).await?;
        for address in &want.addresses {
            if !addresses.contains(&address.address.addr()) {
                wrong.push(format!(
                    "{} has no address {}",
                    inside.name, address.address
                ));
            }
            if !gateways.contains(&address.gateway) {
                wrong.push(format!(
                    "{} has no default route via {}",
                    inside.name, address.gateway
                ));
            }
        }
        Ok(wrong)
    }
}

/// In what one end differs.
fn faults(link: &Link, mtu: u32) -> Vec<String> {
    let mut faults = Vec::new();
    if !link.up {
        faults.push(format!("{} is down", link.name));
    }
    if link.mtu != mtu {
        faults.push(format!(
            "{} has mtu {} instead of {mtu}",
            link.name, link.mtu
        ));
    }
    faults
}

fn present(link: Option<Link>, name: &str) -> Result<Link, CniError> {
    link.ok_or_else(|| {
        CniError::new(
            Code::Kernel,
            format!("device {name} vanished while it was being set up"),
        )
    })
}

fn sysctl6(device: &str, key: &str) -> String {
    format!("/proc/sys/net/ipv6/conf/{device}/{key}")
}

fn write(path: &str, value: &str) -> std::io::Result<()> {
    std::fs::write(path, value).map_err(|error| {
        std::io::Error::new(
            error.kind(),
            format!("cannot write {value} to {path}: {error}"),
        )
    })
}
