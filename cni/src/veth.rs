//! Netlink, for the pod's own device: the only file of the plugin that speaks it.
//!
//! A [`Kernel`] is one connection into one namespace. Its methods do one thing each and know no policy.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use futures::TryStreamExt;
use ipnet::IpNet;
use netlink_packet_route::AddressFamily;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressScope};
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteScope};
use rtnetlink::{Error, Handle, LinkUnspec, LinkVeth, RouteMessageBuilder};

use crate::error::{CniError, Code};
use crate::netns::{Netns, plain};

/// A connection to the kernel in one namespace.
#[derive(Debug, Clone)]
pub(crate) struct Kernel {
    handle: Handle,
    /// Where, in words.
    place: String,
}

/// A device, the part that we look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// Index in its namespace.
    pub(crate) index: u32,
    /// Name.
    pub(crate) name: String,
    /// Administratively up.
    pub(crate) up: bool,
    /// In octets.
    pub(crate) mtu: u32,
    /// As `aa:bb:cc:dd:ee:ff`.
    pub(crate) mac: String,
    /// It is one end of a veth pair.
    pub(crate) veth: bool,
    /// Index of the other end, in the other end's namespace.
    pub(crate) peer: u32,
    /// What somebody wrote on it: [`crate::plumb::alias`].
    pub(crate) alias: String,
}

/// What a new pair shall be.
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    /// Name of the end that stays here.
    pub(crate) host: &'a str,
    /// Name of the end in the pod.
    pub(crate) pod: &'a str,
    /// The pod.
    pub(crate) netns: &'a Netns,
    /// Of both ends, in octets.
    pub(crate) mtu: u32,
    /// Of the pod's end; `None`: the kernel's choice.
    pub(crate) mac: Option<[u8; 6]>,
}

impl Kernel {
    /// In the namespace that we are in.
    pub(crate) fn here() -> Result<Kernel, CniError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(|error| {
            CniError::new(Code::Kernel, format!("netlink: {}", plain(&error))).details(error)
        })?;
        tokio::spawn(connection);
        Ok(Kernel {
            handle,
            place: "on the node".to_owned(),
        })
    }

    /// Inside a pod. A netlink socket stays in the namespace in which it was opened.
    pub(crate) fn inside(netns: &Netns) -> Result<Kernel, CniError> {
        let runtime = tokio::runtime::Handle::current();
        let (connection, handle, _) = netns.run(|| {
            let _entered = runtime.enter();
            rtnetlink::new_connection()
        })?;
        tokio::spawn(connection);
        Ok(Kernel {
            handle,
            place: format!("in netns {}", netns.path()),
        })
    }

    /// A device by name.
    pub(crate) async fn link(&self, name: &str) -> Result<Option<Link>, CniError> {
        let request = self.handle.link().get().match_name(name);
        self.one_link(request, &format!("look for device {name}"))
            .await
    }

    /// A device by index.
    pub(crate) async fn link_at(&self, index: u32) -> Result<Option<Link>, CniError> {
        if index == 0 {
            return Ok(None);
        }
        let request = self.handle.link().get().match_index(index);
        self.one_link(request, &format!("look for device {index}"))
            .await
    }

    /// All devices.
    pub(crate) async fn links(&self) -> Result<Vec<Link>, CniError> {
        let links: Vec<LinkMessage> = self
            .ask(
                "list devices",
                self.handle.link().get().execute().try_collect(),
            )
            .await?;
        Ok(links.iter().map(Link::of).collect())
    }

    /// Makes a veth pair whose other end is born in the pod, with its final name: nothing has to be moved or
    /// renamed, and there is no half-made state to find later.
    pub(crate) async fn create(&self, pair: Pair<'_>) -> Result<(), CniError> {
        let other = LinkUnspec::new_with_name(pair.pod)
            .mtu(pair.mtu)
            .setns_by_fd(pair.netns.fd());
        let other = match pair.mac {
            Some(mac) => other.address(mac.to_vec()),
            None => other,
        };
        let link = LinkVeth::new(pair.host, pair.pod)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(other.build())))
            .address(HOST_MAC.to_vec())
            .mtu(pair.mtu)
            .build();
        let what = format!("create veth pair {} and {}", pair.host, pair.pod);
        self.ask(&what, self.handle.link().add(link).execute())
            .await
    }

    /// Sets a device up, and writes an alias on it.
    pub(crate) async fn up(&self, link: &Link, alias: Option<&str>) -> Result<(), CniError> {
        let mut change = LinkUnspec::new_with_index(link.index).up();
        if let Some(alias) = alias {
            change = change.alias(alias);
        }
        let what = format!("set device {} up", link.name);
        self.ask(&what, self.handle.link().set(change.build()).execute())
            .await
    }

    /// Removes a device; fine when it is gone already.
    pub(crate) async fn delete(&self, link: &Link) -> Result<(), CniError> {
        let what = format!("delete device {}", link.name);
        let request = self.handle.link().del(link.index);
        self.ask(&what, absent_is_fine(request.execute())).await
    }

    /// Adds an address. An IPv6 one is usable at once: its container is the only one on the link, so there is
    /// nobody with whom it could be a duplicate.
    pub(crate) async fn add_address(&self, link: &Link, address: IpNet) -> Result<(), CniError> {
        let addresses = self.handle.address();
        let mut request = addresses.add(link.index, address.addr(), address.prefix_len());
        if address.addr().is_ipv6() {
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        let what = format!("add address {address} to {}", link.name);
        self.ask(&what, request.execute()).await
    }

    /// Addresses of a device, link-local ones left out.
    pub(crate) async fn addresses(&self, link: &Link) -> Result<Vec<IpAddr>, CniError> {
        let request = self
            .handle
            .address()
            .get()
            .set_link_index_filter(link.index);
        let what = format!("list addresses of {}", link.name);
        let found: Vec<_> = self.ask(&what, request.execute().try_collect()).await?;
        Ok(found
            .iter()
            .filter(|message| message.header.scope != AddressScope::Link)
            .filter_map(|message| {
                let local = message
                    .attributes
                    .iter()
                    .find_map(|attribute| match attribute {
                        AddressAttribute::Local(address) => Some(*address),
                        _ => None,
                    });
                local.or_else(|| {
                    message
                        .attributes
                        .iter()
                        .find_map(|attribute| match attribute {
                            AddressAttribute::Address(address) => Some(*address),
                            _ => None,
                        })
                })
            })
            .collect())
    }

    /// The neighbour that never has to be asked for.
    pub(crate) async fn add_neighbour(&self, link: &Link, address: IpAddr) -> Result<(), CniError> {
        let request = self
            .handle
            .neighbours()
            .add(link.index, address)
            .link_layer_address(&HOST_MAC)
            .replace();
        let what = format!("add neighbour {address} to {}", link.name);
        self.ask(&what, request.execute()).await
    }

    /// `ADDRESS dev LINK scope link`.
    pub(crate) async fn add_link_route(&self, link: &Link, to: Ipv4Addr) -> Result<(), CniError> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(to, 32)
            .output_interface(link.index)
            .scope(RouteScope::Link)
            .build();
        self.add_route(route, &format!("add route {to} dev {}", link.name))
            .await
    }

    /// `default via GATEWAY dev LINK`.
    pub(crate) async fn add_default_route(
        &self,
        link: &Link,
        gateway: IpAddr,
    ) -> Result<(), CniError> {
        let route = match gateway {
            IpAddr::V4(gateway) => RouteMessageBuilder::<Ipv4Addr>::new()
                .output_interface(link.index)
                .gateway(gateway)
                .build(),
            IpAddr::V6(gateway) => RouteMessageBuilder::<Ipv6Addr>::new()
                .output_interface(link.index)
                .gateway(gateway)
                .onlink()
                .build(),
        };
        let what = format!("add default route via {gateway} dev {}", link.name);
        self.add_route(route, &what).await
    }

    /// Gateways of default routes through a device.
    pub(crate) async fn default_gateways(&self, link: &Link) -> Result<Vec<IpAddr>, CniError> {
        let mut gateways = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut filter = RouteMessage::default();
            filter.header.address_family = family;
            let routes: Vec<RouteMessage> = self
                .ask(
                    "list routes",
                    self.handle.route().get(filter).execute().try_collect(),
                )
                .await?;
            gateways.extend(routes.iter().filter_map(|route| {
                let oif = route.attributes.contains(&RouteAttribute::Oif(link.index));
                if !oif || route.header.destination_prefix_length != 0 {
                    return None;
                }
                route
                    .attributes
                    .iter()
                    .find_map(|attribute| match attribute {
                        RouteAttribute::Gateway(RouteAddress::Inet(gateway)) => {
                            Some(IpAddr::from(*gateway))
                        }
                        RouteAttribute::Gateway(RouteAddress::Inet6(gateway)) => {
                            Some(IpAddr::from(*gateway))
                        }
                        _ => None,
                    })
            }));
        }
        Ok(gateways)
    }

    async fn add_route(&self, route: RouteMessage, what: &str) -> Result<(), CniError> {
        self.ask(what, self.handle.route().add(route).execute())
            .await
    }

    async fn one_link(
        &self,
        request: rtnetlink::LinkGetRequest,
        what: &str,
    ) -> Result<Option<Link>, CniError> {
        let stream = request.execute();
        let first = async {
            futures::pin_mut!(stream);
            match stream.try_next().await {
                Err(error) if is_absent(&error) => Ok(None),
                other => other,
            }
        };
        Ok(self.ask(what, first).await?.as_ref().map(Link::of))
    }

    /// Every question has an end: a reply that netlink-proto cannot decode would never come.
    async fn ask<T>(
        &self,
        what: &str,
        question: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, CniError> {
        let (why, details) = match tokio::time::timeout(PATIENCE, question).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(Error::NetlinkError(message))) => {
                let error = message.to_io();
                (plain(&error), error.to_string())
            }
            Ok(Err(other)) => (other.to_string(), String::new()),
            Err(_) => (
                format!("no answer within {} s", PATIENCE.as_secs()),
                String::new(),
            ),
        };
        Err(
            CniError::new(Code::Kernel, format!("cannot {what} {}: {why}", self.place))
                .details(details),
        )
    }
}

impl Link {
    fn of(message: &LinkMessage) -> Link {
        let mut link = Link {
            index: message.header.index,
            name: String::new(),
            up: message.header.flags.contains(LinkFlags::Up),
            mtu: 0,
            mac: String::new(),
            veth: false,
            peer: 0,
            alias: String::new(),
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name.clone_from(name),
                LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
                LinkAttribute::Address(mac) => link.mac = mac_text(mac),
                LinkAttribute::Link(peer) => link.peer = *peer,
                LinkAttribute::IfAlias(alias) => link.alias.clone_from(alias),
                LinkAttribute::LinkInfo(infos) => {
                    link.veth = infos
                        .iter()
                        .any(|info| matches!(info, LinkInfo::Kind(InfoKind::Veth)));
                }
                _ => {}
            }
        }
        link
    }
}

/// As `aa:bb:cc:dd:ee:ff`.
pub(crate) fn mac_text(mac: &[u8]) -> String {
    let octets: Vec<String> = mac.iter().map(|octet| format!("{octet:02x}")).collect();
    octets.join(":")
}

/// The other way.
pub(crate) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let octets = text.split(':').map(|part| u8::from_str_radix(part, 16));
    let octets: Vec<u8> = octets.collect::<Result<_, _>>().ok()?;
    octets.try_into().ok()
}

async fn absent_is_fine(request: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    match request.await {
        Err(error) if is_absent(&error) => Ok(()),
        other => other,
    }
}

fn is_absent(error: &Error) -> bool {
    matches!(error, Error::NetlinkError(message)
        if message.to_io().raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()))
}

/// Of the node's end of every pair, as Calico's: its link-local address is then the same everywhere,
/// fe80::ecee:eeff:feee:eeee, and pods keep their gateway through a restart of anything.
pub(crate) const HOST_MAC: [u8; 6] = [0xee; 6];
/// The kernel answers in microseconds; this is for the answer that never comes.
const PATIENCE: Duration = Duration::from_secs(10);
